"""Reading a recipe's parameters and cutting its bases into operands; both may be anything.

Bases are stretches of objects, and objects are pieces of at most 1 MiB, so one operand of a recipe may lie in
several bases: they count end to end, and operands follow each other in them without gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Params:
    """The parameters of one record, for the predictor of this name; everything raises ``CorruptObject``."""

    def __init__(self, predictor: str, params: Mapping[str, Any], keys: Iterable[str]) -> None:
        if params.keys() != set(keys):
            given, known = sorted(map(str, params)), sorted(keys)
            raise CorruptObject(f"{predictor}: parameters {given} where {known} belong")
        self._predictor = predictor
        self._params = params

    def refuse(self, why: str) -> NoReturn:
        """Say that the record is damaged."""
        raise CorruptObject(f"{self._predictor}: {why}")

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """One of some words."""
        value = self._params[key]
        if type(value) is not str or value not in allowed:
            self.refuse(f"parameter {key!r} is none of {sorted(allowed)}")
        return value

    def integer(self, key: str, least: int, greatest: int) -> int:
        """A whole number from ``least`` to ``greatest``."""
        return self.within(key, self._params[key], least, greatest)

    def within(self, key: str, value: Any, least: int, greatest: int) -> int:
        """``value``, which belongs to ``key``, if it is a whole number from ``least`` to ``greatest``."""
        if type(value) is not int or not least <= value <= greatest:  # `type`, because True is no number
            self.refuse(f"parameter {key!r} is out of range")
        return value

    def width(self, key: str) -> int:
        """Bytes of an element: 1, 2, 4 or 8."""
        width = self.integer(key, 1, 8)
        if width not in (1, 2, 4, 8):
            self.refuse(f"parameter {key!r} is out of range")
        return width

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._params[key]
        if type(value) is not bool:
            self.refuse(f"parameter {key!r} is neither true nor false")
        return value

    def number(self, key: str) -> float:
        """A finite number of 64 bits."""
        return self._finite(key, self._params[key])

    def positive(self, key: str) -> float:
        """A finite number of 64 bits that is greater than zero."""
        value = self.number(key)
        if value <= 0:
            self.refuse(f"parameter {key!r} is not greater than zero")
        return value

    def numbers(self, key: str, most: int) -> list[float]:
        """Finite numbers of 64 bits, at most so many."""
        return [self._finite(key, value) for value in self.items(key, most)]

    def items(self, key: str, most: int) -> list[Any]:
        """A list of at most so many values of any kind."""
        value = self._params[key]
        if type(value) not in (list, tuple) or len(value) > most:
            self.refuse(f"parameter {key!r} is no list of at most {most}")
        return list(value)

    def _finite(self, key: str, value: Any) -> float:
        if type(value) is not float or not isfinite(value):
            self.refuse(f"parameter {key!r} is no finite number")
        return value

    def whole(self, length: int, width: int) -> int:
        """How many elements of ``width`` bytes ``length`` bytes are."""
        if length % width:
            self.refuse(f"{length} bytes are no whole elements of {width}")
        return length // width

    def operands(self, bases: Sequence[Buffer], lengths: Sequence[int]) -> list[memoryview]:
        """The bases, cut into operands of these bytes; copies only those that lie in several bases."""
        pieces = [memoryview(base).cast("B") for base in bases]
        given, wanted = sum(map(len, pieces)), sum(lengths)
        if given != wanted:
            self.refuse(f"{given} bytes of bases where {wanted} belong")
        return [_take(pieces, length) for length in lengths]


def _take(pieces: list[memoryview], length: int) -> memoryview:
    """The first ``length`` bytes of the pieces, which lose them."""
    taken: list[memoryview] = []
    while length:
        piece = pieces.pop(0)
        if len(piece) > length:
            pieces.insert(0, piece[length:])
            piece = piece[:length]
        taken.append(piece)
        length -= len(piece)
    return taken[0] if len(taken) == 1 else memoryview(b"".join(taken))
