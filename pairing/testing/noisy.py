"""Photos that nobody reads alone: a blurred, noisy code, another noise for each seed."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from pairing.qr import render


def noisy_photo(token: str, seed: int, *, noise: float = 68.0) -> bytes:
    """A PNG of a token's code, turned by some degrees. `noise` is a normal deviation in levels of
    256 against a contrast of 128; at 68 two or three photos are needed, at 10 one is enough.
    """
    code = Image.open(io.BytesIO(render.png(render.modules(token), 6))).convert("L")
    page = Image.new("L", (code.width + 180, code.height + 120), 90)
    page.paste(code, (90, 60))
    page = page.rotate(3 + 2 * seed, Image.Resampling.BICUBIC, fillcolor=90)
    light = 64 + np.asarray(page.filter(ImageFilter.GaussianBlur(3)), np.float32) / 2
    grain = np.random.default_rng(seed).normal(0, noise, light.shape)
    out = io.BytesIO()
    Image.fromarray((light + grain).clip(0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
