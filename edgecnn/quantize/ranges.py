"""What part of the numbers 8 bits stand for, and in which steps."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.quantize.schemes import QUANT_MAX

# Steps between the ends of an unsigned range.
UNSIGNED_MAX = 255


@dataclass(frozen=True)
class Grid:
    """The values that 8 bits can take: ``scale`` times the whole numbers from ``lowest`` to ``highest``.

    Signed symmetric numbers are stored as they are, with a zero point of 0; unsigned ones as the number less
    ``lowest``, which makes ``-lowest`` the zero point.
    """

    scale: float
    lowest: int
    highest: int


@dataclass(frozen=True)
class Range:
    """The values to represent, from ``low`` to ``high``, with 0 among them, as 0 must stay exactly 0 (padding, ReLU).

    Raises:
        ValueError: 0 is not in it.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= 0 <= self.high:
            raise ValueError(f"a range contains 0, and [{self.low}, {self.high}] does not")

    @property
    def peak(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)

    def grid(self, *, symmetric: bool) -> Grid:
        """The steps: -127 to 127 up to the peak, or 256 from ``low`` to ``high``, shifted so that 0 is one of them.

        The shift is by half a step at most. An empty range has a scale of 0.
        """
        if symmetric:
            return Grid(self.peak / QUANT_MAX, -QUANT_MAX, QUANT_MAX)
        scale = (self.high - self.low) / UNSIGNED_MAX
        below = round(-self.low / scale) if scale else 0
        return Grid(scale, -below, UNSIGNED_MAX - below)
