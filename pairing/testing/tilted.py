"""A QR code seen at an angle, and exactly where: for tests of what comes after locating it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Float = NDArray[np.float32]
Reals = NDArray[np.float64]
_FINE = 8
"""Pixels a module in the clean picture that is looked at."""
_QUIET = 4
_AROUND = 12
"""Pixels of dark screen round the quiet zone."""


@dataclass(frozen=True, slots=True, eq=False)
class Tilted:
    """`gray` (height, width) 0 to 255; the lattice's `version`, `pixels` and `pitch`."""

    gray: Float
    version: int
    homography: Reals

    @property
    def pitch(self) -> float:
        """Pixels a module, the mean over the code."""
        n = 17.0 + 4 * self.version
        corners = self.pixels(np.array([(0, 0), (n, 0), (n, n), (0, n)]))
        after = np.roll(corners, -1, axis=0)
        twice = float((corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1]).sum())
        return math.sqrt(abs(twice) / 2) / n

    def pixels(self, points: Reals) -> Reals:
        """(k, 2) module coordinates to pixels."""
        seen = points @ self.homography[:, :2].T + self.homography[:, 2]
        return np.asarray(seen[:, :2] / seen[:, 2:])


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a code is seen: `pitch` pixels a module, `tilt` in degrees, `blur` (sigma) and `shake`
    (path) in modules, `noise` in steps of 255, `glare` the share of the side that a spot hides."""

    pitch: float = 6
    tilt: float = 20
    blur: float = 0
    shake: float = 0
    noise: float = 0
    glare: float = 0


def tilted(modules: NDArray[np.bool_], view: View, seed: int = 0) -> Tilted:
    """The code (True = dark) in that view. Same arguments, same picture."""
    chance = random.Random(seed)
    side = len(modules) + 2 * _QUIET
    homography = _homography(side, view, chance)
    clean = np.kron(np.pad(~modules, _QUIET), np.ones((_FINE, _FINE)))
    clean[: _QUIET * _FINE] = clean[-_QUIET * _FINE :] = 1
    clean[:, : _QUIET * _FINE] = clean[:, -_QUIET * _FINE :] = 1
    into = np.linalg.inv(homography) * _FINE
    into[2] /= _FINE
    width = int(side * view.pitch + 2 * _AROUND)
    screen = Image.fromarray((30 + 190 * clean).astype(np.uint8))
    screen = screen.filter(ImageFilter.BoxBlur(max(0.0, (_FINE / view.pitch - 1) / 2)))
    coefficients = tuple(float(number) for number in (into / into[2, 2]).ravel()[:8])
    photo = screen.transform(
        (width, width), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    photo = photo.filter(ImageFilter.GaussianBlur(view.blur * view.pitch))
    gray = _shaken(np.asarray(photo, dtype=np.float32), view, chance)
    gray = _glaring(gray, view, chance)
    noise = np.random.default_rng(seed).normal(0, view.noise, gray.shape)
    whole = np.clip(gray + noise, 0, 255).astype(np.float32)
    quiet = np.array([[1, 0, _QUIET], [0, 1, _QUIET], [0, 0, 1]], dtype=np.float64)
    placed = homography @ quiet
    return Tilted(whole, (len(modules) - 17) // 4, placed / placed[2, 2])


def _homography(side: int, view: View, chance: random.Random) -> Reals:
    """From module coordinates with the quiet zone to pixels: turned about two axes, seen from 2.5
    sides away."""
    lean = math.radians(view.tilt)
    towards = chance.uniform(0, 2 * math.pi)
    deep = np.array([math.sin(lean) * math.cos(towards), math.sin(lean) * math.sin(towards)])
    turn = np.array([[1 - deep[0] ** 2 / 2, 0], [0, 1 - deep[1] ** 2 / 2]])
    middle = np.array([[1 / side, 0, -0.5], [0, 1 / side, -0.5], [0, 0, 1]])
    look = np.eye(3)
    look[:2, :2] = turn
    look[2, :2] = deep / 2.5
    half = side * view.pitch / 2
    out = np.array([[2 * half, 0, half + _AROUND], [0, 2 * half, half + _AROUND], [0, 0, 1]])
    return np.asarray(out @ look @ middle)


def _shaken(gray: Float, view: View, chance: random.Random) -> Float:
    """The mean along a straight path about its middle, so that the lattice stays true."""
    length = view.shake * view.pitch
    angle = chance.uniform(0, math.pi)
    steps = max(1, round(length))
    offsets = (np.arange(steps) - (steps - 1) / 2) * (length / steps)
    moved = [
        np.roll(gray, (round(o * math.sin(angle)), round(o * math.cos(angle))), axis=(0, 1))
        for o in offsets
    ]
    return np.asarray(np.mean(moved, axis=0), dtype=np.float32)


def _glaring(gray: Float, view: View, chance: random.Random) -> Float:
    """One soft white spot somewhere in the code, away from its corners."""
    if view.glare <= 0:
        return gray
    down, across = np.mgrid[0 : gray.shape[0], 0 : gray.shape[1]] / len(gray)
    x, y = chance.uniform(0.4, 0.7), chance.uniform(0.4, 0.7)
    far = np.sqrt((across - x) ** 2 + (down - y) ** 2) / (view.glare / 2)
    strength = np.clip(1.5 - far, 0, 1)
    return np.asarray(gray + (255 - gray) * strength, dtype=np.float32)
