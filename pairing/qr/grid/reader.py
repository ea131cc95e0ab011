"""The grid reader's door: reads codes that every engine gave up, or never saw.

An engine's places come first, then finders of our own search; each guess is fitted to the picture,
its modules weighed one by one, and only what Reed-Solomon mends with parity to spare counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from pairing.qr.grid import align, corner, finders
from pairing.qr.grid.decode import Tries, decode, text_of
from pairing.qr.grid.halfseen import FIT, half_seen
from pairing.qr.grid.lattice import Lattice, Points, convex, from_corners
from pairing.qr.grid.layout import known
from pairing.qr.grid.softbits import SoftBits, soft_bits
from pairing.qr.reading import Code, Corners, Place, Seen, Tried

BUDGET_MS = 2200
"""CPU milliseconds after which nothing new is tried; HARD_MS when trying hard."""
HARD_MS = 8000
PLACES = 4
_FITS = 0.6
"""A lattice that fits less is no code of its version."""
_CLEAR = 0.8
"""Two guesses at one place: after one that fits like this, no other is looked at."""
_FLAT = 0.95
"""A flat lattice that fits like this is not bent."""
_PITCH = 7.0
"""Pixels a module at most: finer pictures are shrunk, which takes noise and moire away."""
_BRIGHT = 95
"""Percentile of the light above which nothing is told apart."""
_AROUND = 6
"""Modules round a code that are cut out with it."""
_SOFTER = 0.35
"""Modules (sigma) of the blur for a second look at the bits."""

Accept = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class GridReading:
    """What the grid reader found. `soft` are the bits of codes that were located but not read."""

    codes: tuple[Code, ...]
    seen: tuple[Seen, ...]
    steps: tuple[Tried, ...]
    soft: tuple[SoftBits, ...] = field(default=(), repr=False)


def preload() -> None:
    """Read a code of nonsense, which loads all that is imported on first use: nothing can be opened
    once the worker is locked down."""
    chance = np.random.default_rng(0)
    signs = known(7)
    modules = np.where(signs == 0, chance.choice([-1, 1], signs.shape), signs)
    drawn = np.kron(np.pad(modules, 4, constant_values=-1), np.ones((4, 4)))
    read(Image.fromarray(np.where(drawn > 0, 0, 255).astype(np.uint8)), (), lambda text: False)


def read(
    gray: Image.Image,
    places: Sequence[Place],
    accept: Accept,
    *,
    versions: Collection[int] | None = None,
    budget_ms: int | None = None,
    hard: bool = False,
) -> GridReading:
    """Look for codes in an upright 8-bit gray picture until one's text is accepted.

    `places` are those of codes that an engine located but could not read. `versions` are those to
    look for, None for all. Codes whose text is not accepted are in the answer too. Deterministic
    but for the budget (CPU milliseconds).
    """
    allowed = (HARD_MS if hard else BUDGET_MS) if budget_ms is None else budget_ms
    search = _Search(gray, accept, versions, time.process_time() + allowed / 1000)
    if places:
        search.engine_places(places)
    todo = finders.stages(gray.size, hard=hard)
    found = finders.triples(gray, todo, search.single)
    while not search.done and search.next_stage(found):
        pass
    return search.result()


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """Part of a picture: `light` from 0, black, to 255, from (left, top) on, enlarged by scale."""

    light: align.Gray
    left: int
    top: int
    scale: float


def crop(image: Image.Image, corners: Points, pitch: float, *, inverted: bool = False) -> Crop:
    """What lies round these points, shrunk if a module has more than _PITCH pixels."""
    room = _AROUND * pitch
    left, top = (max(0, int(value)) for value in corners.min(axis=0) - room)
    right, bottom = (
        min(side, int(value) + 1)
        for value, side in zip(corners.max(axis=0) + room, image.size, strict=True)
    )
    right, bottom = max(right, left + 8), max(bottom, top + 8)
    scale = min(1.0, _PITCH / pitch)
    size = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    if scale == 1:
        part = image.crop((left, top, right, bottom))
    else:
        part = image.resize(size, Image.Resampling.BOX, box=(left, top, right, bottom))
    light = np.asarray(part, dtype=np.float32)
    light = 255 - light if inverted else light
    # Small spots far brighter than paper would make the rest look flat.
    some = np.sort(light[::3, ::3], axis=None)
    return Crop(np.minimum(light, some[len(some) * _BRIGHT // 100]), left, top, scale)


def straightened_texts(light: align.Gray, lattice: Lattice) -> list[str]:
    """What zxing-cpp reads in the picture seen from straight above, evenly lit."""
    import zxingcpp

    patch = align.evened(align.rectified(light, lattice.homography, lattice.size))
    picture = np.clip(128 - 64 * patch, 0, 255).astype(np.uint8)
    found = zxingcpp.read_barcodes(
        picture,
        formats=zxingcpp.barcode_formats_from_str("QRCode"),
        text_mode=zxingcpp.TextMode.Plain,
    )
    return [code.text for code in found if code.valid]


@dataclass(slots=True, eq=False)
class _Look:
    """A lattice that fits, in pixels of the whole picture, and what came of it."""

    lattice: Lattice
    soft: SoftBits
    crop: Crop
    read: bool = False


@dataclass(slots=True, eq=False)
class _Search:
    """One photo's search: what was found so far, and how long it may go on."""

    image: Image.Image
    accept: Accept
    versions: Collection[int] | None
    until: float
    tries: Tries = field(default_factory=Tries)
    codes: list[Code] = field(default_factory=list)
    looks: list[_Look] = field(default_factory=list)
    steps: list[Tried] = field(default_factory=list)
    single: list[finders.Finder] = field(default_factory=list)
    accepted: bool = False

    @property
    def done(self) -> bool:
        return self.accepted or not self.tries.left or time.process_time() > self.until

    def engine_places(self, places: Sequence[Place]) -> None:
        """Try the places of codes that an engine located."""
        self._step(time.process_time(), "grid", self._from_places(places))

    def next_stage(self, stages: Iterator[tuple[str, list[finders.Triple]]]) -> bool:
        """Search on, and try what the search finds; False where there is nowhere left to look."""
        begun = time.process_time()
        name, triples = next(stages, ("", []))
        if name:
            self._step(begun, f"grid {name}", self._from_triples(triples))
        return bool(name)

    def _step(self, begun: float, name: str, guesses: Iterable[tuple[Crop, list[Lattice]]]) -> None:
        """Try guesses until a text is accepted, and note what the step found."""
        codes, looks = len(self.codes), len(self.looks)
        for part, lattices in guesses:
            self._try_all(name, part, lattices)
            if self.done:
                break
        spent = round((time.process_time() - begun) * 1000)
        read = len(self.codes) - codes
        self.steps.append(Tried(name, spent, read, max(0, len(self.looks) - looks - read)))

    def _from_places(self, places: Sequence[Place]) -> Iterator[tuple[Crop, list[Lattice]]]:
        """Guesses at the places and versions that an engine gave."""
        for place in places[:PLACES]:
            corners = np.array(place.corners, dtype=np.float64)
            if place.version is None or corners.shape != (4, 2) or not convex(corners):
                continue
            if self.versions is not None and place.version not in self.versions:
                continue
            guess = from_corners(place.version, corners)
            part = crop(self.image, corners, guess.pitch)
            yield part, [guess.within(part.left, part.top, part.scale)]

    def _from_triples(
        self, triples: Iterable[finders.Triple]
    ) -> Iterator[tuple[Crop, list[Lattice]]]:
        """Guesses over three finders each."""
        for triple in triples:
            if self._known(triple):
                continue
            first, right, down = triple.centres
            four = np.stack((first, right, down, right + down - first))
            part = crop(self.image, four, triple.module, inverted=triple.inverted)
            inside = replace(
                triple,
                centres=(triple.centres - (part.left, part.top)) * part.scale,
                module=triple.module * part.scale,
            )
            yield part, corner.guesses(part.light, inside, self.versions)

    def _known(self, triple: finders.Triple) -> bool:
        """Whether a code that fits well lies there already."""
        middle = (triple.centres[1] + triple.centres[2]) / 2
        boxes = (look.lattice.corners for look in self.looks if look.lattice.fit >= _CLEAR)
        return any(
            bool(np.all((box.min(axis=0) < middle) & (middle < box.max(axis=0)))) for box in boxes
        )

    def _try_all(self, name: str, part: Crop, guesses: list[Lattice]) -> None:
        fitted = (align.aligned(part.light, guess) for guess in guesses)
        for lattice in fitted:
            if self.done:
                return
            if lattice.fit >= _FITS and convex(lattice.corners):
                self._try(name, part, lattice)
            if lattice.fit >= _CLEAR:
                return

    def _try(self, name: str, part: Crop, lattice: Lattice) -> None:
        """Read the bits of one lattice in several ways until they make a code."""
        look: _Look | None = None
        for manner, light, placed in _manners(part.light, lattice):
            soft = soft_bits(light, placed)
            look = look or _Look(placed.out_of(part.left, part.top, part.scale), soft, part)
            text = self._text(soft)
            if text is not None:
                look.read = True
                corners = _rounded(placed.out_of(part.left, part.top, part.scale).corners)
                self.codes.append(Code(text, corners, name + manner))
                break
            if self.done:
                break
        if look is None:
            return
        if not look.read and not self.done:
            self._engine(name, part, lattice, look)
        self.looks.append(look)

    def _engine(self, name: str, part: Crop, lattice: Lattice, look: _Look) -> None:
        """Let zxing-cpp try the straightened code: it takes what the smallest codes, which have
        no parity to spare, need for being read at all."""
        for text in straightened_texts(part.light, lattice):
            look.read = True
            self.accepted = self.accepted or self.accept(text)
            corners = _rounded(lattice.out_of(part.left, part.top, part.scale).corners)
            self.codes.append(Code(text, corners, name + " engine"))

    def _text(self, soft: SoftBits) -> str | None:
        corrected = decode(soft, self.tries)
        text = text_of(corrected) if corrected else None
        if text is not None:
            self.accepted = self.accept(text)
        return text

    def result(self) -> GridReading:
        """What came of it."""
        looks = sorted(self.looks, key=lambda look: (-look.read, -look.lattice.fit))
        seen = tuple(_seen(look, self.image) for look in looks)
        if all(one.fit < FIT and not one.read for one in seen):
            half = half_seen(self.image, self.single, finders.searched(self.image.size))
            seen = (half, *seen) if half else seen
        return GridReading(
            codes=tuple(self.codes),
            seen=seen,
            steps=tuple(self.steps),
            soft=tuple(look.soft for look in looks if not look.read),
        )


def _manners(light: align.Gray, lattice: Lattice) -> Iterator[tuple[str, align.Gray, Lattice]]:
    """Ways to read the bits, cheap ones first: as it is, softened, on a curved surface."""
    yield "", light, lattice
    yield " soft", align.blurred(light, _SOFTER * lattice.pitch), lattice
    if lattice.fit < _FLAT:
        bent = align.aligned(light, lattice, bent=True)
        if bent.fit > lattice.fit:
            yield " bend", light, bent


def _seen(look: _Look, image: Image.Image) -> Seen:
    at, part = look.soft.glare_at, look.crop
    if at is not None:
        at = at[0] / part.scale + part.left, at[1] / part.scale + part.top
    lattice = look.lattice
    return Seen(
        corners=_rounded(lattice.corners),
        version=lattice.version,
        fit=lattice.fit,
        pitch=lattice.pitch,
        glare=look.soft.glare,
        glare_at=None if at is None else (round(at[0]), round(at[1])),
        read=look.read,
        cut=cut_side(lattice, image.size),
    )


def cut_side(lattice: Lattice, size: tuple[int, int]) -> str:
    """The side of the picture that the code runs out of, by half a module at least."""
    low, high = lattice.corners.min(axis=0), lattice.corners.max(axis=0)
    beyond = {
        "left": -low[0],
        "top": -low[1],
        "right": high[0] - size[0],
        "bottom": high[1] - size[1],
    }
    side = max(beyond, key=lambda name: float(beyond[name]))
    return side if beyond[side] > lattice.pitch / 2 else ""


def _rounded(corners: Points) -> Corners:
    return tuple((round(float(x)), round(float(y))) for x, y in corners)
