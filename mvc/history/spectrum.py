"""How many directions a matrix of changes has: by its singular values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 256
"""Rows and columns of a sample, at most: the work grows with the cube of their number."""


class Grid(NamedTuple):
    """Which elements of a tensor are its sample: the rows and columns of it as a matrix, and its row length.

    A tensor of more dimensions is the matrix of its first one against all others.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    width: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Grid | None:
        """Evenly spaced rows and columns; None for what is no matrix, or one of a single row or column."""
        if len(shape) < 2 or 0 in shape:
            return None
        height, width = shape[0], int(np.prod(shape[1:], dtype=object))
        if height < 2 or width < 2:
            return None
        return cls(_spread(height), _spread(width), width)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the sample."""
        return self.rows.size, self.columns.size

    def places(self) -> NDArray[np.int64]:
        """The sample's elements by their number in row-major order, ascending."""
        return (self.rows[:, None] * self.width + self.columns).reshape(-1)


def _spread(extent: int) -> NDArray[np.int64]:
    count = min(extent, MOST)
    return np.arange(count, dtype=np.int64) * extent // count


def singular_values(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The singular values, greatest first, relative to the greatest; empty for a matrix of zeros.

    Roots of the eigenvalues of the smaller Gram matrix, five times as fast as a decomposition: below 1e-8
    they are noise.
    """
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    greatest = float(np.abs(matrix).max(initial=0.0))
    if not greatest:
        return np.empty(0)
    scaled = matrix / greatest
    squares = np.linalg.eigvalsh(scaled @ scaled.T)[::-1]
    values: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0) / squares[0])
    return values


def effective_rank(values: NDArray[np.float64]) -> float:
    """exp of the entropy of singular values that are scaled to a sum of one; 0 for none.

    Source: O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
    """
    if not values.size:
        return 0.0
    shares = values[values > 1e-8] / values[values > 1e-8].sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def low_rank(
    matrix: NDArray[np.float64], noise: float, values: NDArray[np.float64] | None = None
) -> int | None:
    """The rank of a matrix of few directions beside independent errors of standard deviation ``noise``; None
    where more than a quarter of its directions stand out, or those that do are not nearly all of it.

    Errors of an m × n matrix have a greatest singular value near noise · (√m + √n) (V. Marchenko and
    L. Pastur, 1967); what is a tenth above that stands out. ``values`` are the matrix's singular values, if
    they are known.
    """
    values = singular_values(matrix) if values is None else values
    if not values.size:
        return None
    squares = np.square(values)
    energy = float(np.square(matrix).sum())
    sizes = values * np.sqrt(energy / squares.sum())
    edge = 1.1 * noise * (np.sqrt(matrix.shape[0]) + np.sqrt(matrix.shape[1]))
    rank = int(np.count_nonzero(sizes > max(edge, 1e-6 * sizes[0])))
    rest = energy * float(squares[rank:].sum() / squares.sum())
    quiet = rest <= max((1.5 * noise) ** 2 * matrix.size, 1e-6 * energy)
    return rank if 0 < rank <= min(matrix.shape) // 4 and quiet and rest <= 0.3 * energy else None


def rounding_noise(values: NDArray[np.float64], mantissa_bits: int) -> float:
    """Standard deviation of the rounding of these numbers to so many bits behind the leading one: that of an
    even distribution over a unit in the last place."""
    _fraction, exponents = np.frexp(values)
    units = np.where(values == 0, 0.0, np.ldexp(1.0, exponents - 1 - mantissa_bits))
    return float(np.sqrt(np.square(units).mean() / 12)) if values.size else 0.0
