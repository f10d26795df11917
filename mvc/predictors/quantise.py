"""``quantise`` version 1: a tensor of few bits out of its float parent.

Parameters:

- ``from``: float type of the parent: F32, F16 or BF16;
- ``to``: I8, U8, F8_E4M3, F8_E5M2, or I4, U4: two in a byte, the first one in the low half;
- ``group``: elements that share a scale: a row's, or a part's, 1 to 2^20; ``skip``: how many of the first
  group's elements come before the piece. Both are even for types of 4 bits;
- ``scale``: where scales come from:

  - ``["absmax", divisor, type]``: max |x| of the group over the divisor (> 0), as the predictor ``absmax``
    makes it, rounded to the float type;
  - ``["stored", type]``: the second operand has one of this float type for each group;
  - ``["given", number]``: this number, rounded to F32, for all groups;

- ``multiply``: whether x is multiplied by 1 / scale, which is rounded to F32, or divided by the scale.
  1 / 0 is 0 here, as in ggml;
- ``round``: ``even`` or ``away``: what becomes of ties between whole numbers; ``even`` for F8;
- ``zero``: a whole number that is added at last, −255 to 255; 0 for F8;
- ``low``, ``high``: whole numbers, low < high; what goes beyond becomes these. Within what ``to`` can say;
- ``compute``: ``F32``, or ``native``: x / scale is rounded to ``from``.

First operand: all elements of each group that the piece touches. x / scale is one operation of F32; it is
bounded by ``low − zero`` and ``high − zero``; what is no number becomes 0; it is rounded to a whole number
(or to F8's nearest), and ``zero`` is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.elements import Elements, scratch, unsigned
from mvc.predictors import ieee
from mvc.predictors.absmax import DIVISORS
from mvc.predictors.floats import FLOATS, PARENTS, Numbers, elements, load, round_to, store, width_of
from mvc.predictors.grouped import Groups, Part, absmax, clip, load_groups, round_away
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

RANGES = {
    "I8": (-128, 127),
    "U8": (0, 255),
    "I4": (-8, 7),
    "U4": (0, 15),
    "F8_E4M3": (-448, 448),
    "F8_E5M2": (-57344, 57344),
}
"""What each type can say."""

_KEYS = ("from", "to", "group", "skip", "scale", "multiply", "round", "zero", "low", "high", "compute")
_ENOUGH = 0.9


class _Recipe(NamedTuple):
    """The parameters, read."""

    before: str
    after: str
    kind: str
    scale_type: str
    number: float
    multiply: bool
    away: bool
    zero: int
    low: int
    high: int
    native: bool

    @property
    def floating(self) -> bool:
        return self.after.startswith("F8")

    @property
    def packed(self) -> bool:
        return self.after.endswith("4")


class Quantise:
    """The predictor ``quantise``."""

    name = "quantise"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The piece, quantised."""
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, _KEYS)
        recipe = _recipe(read)
        groups = Groups.read(read, "group", 2 * length if recipe.packed else length)
        if recipe.packed and (groups.size % 2 or groups.skip % 2):
            read.refuse("a byte of two elements that belong to two groups")
        lengths = [groups.number * groups.size * width_of(recipe.before)]
        if recipe.kind == "stored":
            lengths.append(groups.number * width_of(recipe.scale_type))
        operands = read.operands(bases, lengths)
        given = elements(operands[0], recipe.before)
        stored = elements(operands[1], recipe.scale_type) if len(operands) > 1 else None
        made = np.empty(length, np.uint8)
        for part in groups.parts():
            numbers = load_groups(given, recipe.before, groups.size, part.groups)
            _divide(numbers, _scales(numbers, part, recipe, stored), recipe)
            _settle(numbers.reshape(-1)[part.inside], recipe, made, part.outside)
        return made.data


def _recipe(read: Params) -> _Recipe:
    before, after = read.choice("from", PARENTS), read.choice("to", RANGES)
    kind, scale_type, number = _scale(read)
    least, greatest = RANGES[after]
    low = read.integer("low", least, greatest - 1)
    high = read.integer("high", low + 1, greatest)
    floating = after.startswith("F8")
    return _Recipe(
        before,
        after,
        kind,
        scale_type,
        number,
        read.flag("multiply"),
        read.choice("round", ("even",) if floating else ("even", "away")) == "away",
        read.integer("zero", 0, 0) if floating else read.integer("zero", -255, 255),
        low,
        high,
        read.choice("compute", ("F32", "native")) == "native",
    )


def _scale(read: Params) -> tuple[str, str, float]:
    """Kind, float type and number of the parameter ``scale``."""
    match read.items("scale", 3):
        case ["absmax", float() as divisor, str() as dtype] if 0 < divisor < np.inf and dtype in FLOATS:
            return "absmax", dtype, divisor
        case ["stored", str() as dtype] if dtype in FLOATS:
            return "stored", dtype, 1.0
        case ["given", float() as number] if 0 < number < np.inf:
            return "given", "F32", number
    return read.refuse("parameter 'scale' is out of range")


def _scales(numbers: Numbers, part: Part, recipe: _Recipe, stored: Elements | None) -> Numbers:
    """One binary32 scale for each of some groups, as a column."""
    if recipe.kind == "absmax":
        scales = absmax(numbers, recipe.number, recipe.scale_type)
    else:
        scales = np.full(part.groups.stop - part.groups.start, recipe.number, np.float32)
        if stored is not None:
            load(stored[part.groups], recipe.scale_type, scales)
    if recipe.multiply:
        nothing = scales == 0
        np.divide(np.float32(1), scales, out=scales)
        scales[nothing] = 0
    return scales[:, None]


def _divide(numbers: Numbers, scales: Numbers, recipe: _Recipe) -> None:
    (np.multiply if recipe.multiply else np.divide)(numbers, scales, out=numbers)
    if recipe.native:
        round_to(numbers.reshape(-1), recipe.before)


def _settle(numbers: Numbers, recipe: _Recipe, made: NDArray[np.uint8], place: slice) -> None:
    """Bound, round and pack what was scaled, into its place among the piece's elements."""
    clip(numbers, recipe.low - recipe.zero, recipe.high - recipe.zero)
    if recipe.floating:
        store(numbers, recipe.after, made[place])
        return
    if recipe.away:
        round_away(numbers)
    else:
        np.rint(numbers, out=numbers)
    if recipe.zero:
        np.add(numbers, np.float32(recipe.zero), out=numbers)
    whole = scratch("quantise.whole", numbers.size, np.dtype("<i4"))
    np.copyto(whole, numbers, casting="unsafe")
    if recipe.packed:
        np.bitwise_and(whole, 15, out=whole)
        pairs = whole[0::2] | whole[1::2] << 4
        np.copyto(made[place.start // 2 : place.stop // 2], pairs, casting="unsafe")
    else:
        np.copyto(made[place].view(np.int8), whole, casting="unsafe")


def find(
    target: Elements,
    to: str,
    base: Elements,
    dtype: str,
    columns: int,
    scales: tuple[Elements, str] | None = None,
) -> dict[str, Any] | None:
    """Parameters, with ``skip`` 0, that make ``target`` out of ``base``, at least nine tenths of it; or None.

    ``target``: the bytes of some whole rows of ``columns`` elements of type ``to``; ``base``: the bits of the
    same rows in float type ``dtype``. ``scales``: those rows' stored scales and their float type, if the file
    has any: scales that can be calculated need no second operand, so these are tried first. One scale for a
    whole tensor is found where ``base`` holds the whole tensor, or where it is stored.
    """
    if not target.size or base.size % columns or dtype not in PARENTS:
        return None
    bases = [base.tobytes()]
    best: tuple[float, dict[str, Any] | None] = (0.0, None)
    for params in _candidates(to, base, dtype, columns, scales):
        operands = bases + ([scales[0].tobytes()] if scales and params["scale"][0] == "stored" else [])
        made = np.frombuffer(memoryview(PREDICTOR.predict(operands, params, target.nbytes)), np.uint8)
        equal = float(np.mean(made == target.view(np.uint8)))
        if equal >= _ENOUGH and equal > best[0]:
            best = equal, params
        if equal == 1:
            break
    return best[1]


def _candidates(
    to: str, base: Elements, dtype: str, columns: int, scales: tuple[Elements, str] | None
) -> Iterator[dict[str, Any]]:
    low, high = RANGES[to]
    packed, floating = to.endswith("4"), to.startswith("F8")
    zero = 0 if low else (high + 1) // 2
    # groups that a byte of two elements can span are not to be had
    sizes = [size for size in (columns, 128, 64, 32) if columns % size == 0 and not (packed and size % 2)]
    ways: list[tuple[list[Any], int]] = []
    for size in dict.fromkeys(sizes):
        for divisor in [number for number in DIVISORS if number in (high - zero, high - zero + 1)]:
            ways += [(["absmax", divisor, rounding], size) for rounding in dict.fromkeys(("F32", dtype))]
    if scales is not None:
        stored, scale_type = scales
        if stored.size > 1 and base.size % stored.size == 0 and columns % (base.size // stored.size) == 0:
            ways.append((["stored", scale_type], base.size // stored.size))
        if stored.size == 1:
            ways.append((["given", float(_numbers(stored, scale_type)[0])], 2 if packed else 1))
    sizes_of_all = np.abs(_numbers(base, dtype))
    if np.isfinite(sizes_of_all).all() and sizes_of_all.any():
        ways.append((["given", float(sizes_of_all.max() / np.float32(high - zero))], 2 if packed else 1))
    for scale, size in ways:
        if scale[0] == "given" and not 0 < scale[1] < np.inf:
            continue
        for compute in ("F32", "native") if dtype != "F32" else ("F32",):
            for rounding in ("even",) if floating else ("even", "away"):
                for multiply in (False, True):
                    yield {
                        "from": dtype,
                        "to": to,
                        "group": size,
                        "skip": 0,
                        "scale": scale,
                        "multiply": multiply,
                        "round": rounding,
                        "zero": zero,
                        "low": low,
                        "high": high,
                        "compute": compute,
                    }


def _numbers(bits: Elements, dtype: str) -> NDArray[np.float32]:
    numbers = np.empty(bits.size, np.float32)
    with np.errstate(all="ignore"):  # samples may hold signalling NaNs
        load(bits.view(unsigned(width_of(dtype))), dtype, numbers)
    return numbers


PREDICTOR = Quantise()
