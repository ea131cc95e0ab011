"""Where every module of a located code lies in a picture.

Module coordinates: u to the right, v down, the code spans 0..n (n = 17 + 4 * version); the centre
of module (row r, column c) is (c + 0.5, r + 0.5). Pixel coordinates: the top left corner of the
top left pixel is (0, 0), so its centre is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairing.qr.grid.layout import size_of

Float = NDArray[np.float64]
Points = NDArray[np.float64]
"""(k, 2): one point a row."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A code's modules in a picture: a perspective view, of a surface that may be bent.

    `homography` (3 x 3) takes module coordinates to pixels. `bend` (2 x 4), if there is one, is
    added to the module coordinates before that (rows: u, v; columns: see `bend_terms`; in modules):
    bending along the code looks the same from every side. `fit` is the correlation of the picture
    with the patterns that every code of the version has, 0..1: below 0.6 there is no such code.
    """

    version: int
    homography: Float
    bend: Float | None = None
    fit: float = 0.0

    @property
    def size(self) -> int:
        """Modules along a side."""
        return size_of(self.version)

    @property
    def corners(self) -> Points:
        """(4, 2) pixels, clockwise from the code's own top left."""
        n = self.size
        return self.pixels(np.array([(0, 0), (n, 0), (n, n), (0, n)], dtype=np.float64))

    @property
    def pitch(self) -> float:
        """Pixels a module, the mean over the code."""
        return float(np.sqrt(area(self.corners))) / self.size

    def pixels(self, points: Points) -> Points:
        """(k, 2) module coordinates to pixels."""
        if self.bend is not None:
            points = points + bend_terms(points, self.size) @ self.bend.T
        return project(self.homography, points)

    def within(self, left: float, top: float, scale: float) -> Lattice:
        """The same lattice in the pixels of a crop from (left, top) on, enlarged by `scale`."""
        into = np.array([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]])
        return replace(self, homography=into @ self.homography)

    def out_of(self, left: float, top: float, scale: float) -> Lattice:
        """The way back from such a crop."""
        return self.within(-left * scale, -top * scale, 1 / scale)


def bend_terms(points: Points, size: int) -> Float:
    """(k, 4): how much each coefficient of a bend moves these points. The corners stay."""
    a, b = points[:, 0] / size - 0.5, points[:, 1] / size - 0.5
    across, down = a * a - 0.25, b * b - 0.25
    return np.stack((across, down, across * b, down * a), axis=1)


def project(homography: Float, points: Points) -> Points:
    """(k, 2) points through a 3 x 3 homography."""
    flat = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(flat[:, :2] / flat[:, 2:])


def from_corners(version: int, corners: Sequence[Sequence[float]] | Points) -> Lattice:
    """The flat lattice with these four corners: pixels, clockwise from the code's top left.

    Raises ValueError if three of them lie in a line.
    """
    n = size_of(version)
    square = np.array([(0, 0), (n, 0), (n, n), (0, n)], dtype=np.float64)
    return Lattice(version, through(square, np.asarray(corners, dtype=np.float64)))


def through(source: Points, target: Points) -> Float:
    """The homography that takes four points to four others. Raises ValueError if there is none."""
    rows = np.zeros((8, 8))
    rows[0::2, 0:2], rows[0::2, 2] = source, 1
    rows[1::2, 3:5], rows[1::2, 5] = source, 1
    rows[0::2, 6:] = -source * target[:, :1]
    rows[1::2, 6:] = -source * target[:, 1:]
    try:
        found = np.linalg.solve(rows, target.reshape(8))
    except np.linalg.LinAlgError:
        raise ValueError("three of the four points lie in a line") from None
    return np.append(found, 1.0).reshape(3, 3)


def area(corners: Points) -> float:
    """Square pixels inside a polygon (shoelace formula)."""
    after = np.roll(corners, -1, axis=0)
    return float(abs(np.sum(corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1])) / 2)


def convex(corners: Points) -> bool:
    """Whether the four corners go round clockwise (in pixels, y down) without a dent."""
    edge = np.roll(corners, -1, axis=0) - corners
    after = np.roll(edge, -1, axis=0)
    return bool(np.all(edge[:, 0] * after[:, 1] - edge[:, 1] * after[:, 0] > 0))
