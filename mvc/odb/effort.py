"""How much time the encoder may take for how small a record."""

from __future__ import annotations

from enum import Enum


class Effort(Enum):
    """What a caller asks of the encoder; a reader takes what any of them made.

    - ``FAST``: no prediction and no dictionary, and of two ways the one that a glance says is smaller;
    - ``NORMAL``: what a sample says is smallest, of the ways that cost little time;
    - ``BEST``: every way is tried and the smallest kept, several times slower.
    """

    FAST = "fast"
    NORMAL = "normal"
    BEST = "best"
