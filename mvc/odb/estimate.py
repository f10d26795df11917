"""Guesses, from a sample, what each way to code a tensor would cost, so that only the best one is tried.

The cost of byte planes is their order-0 entropy, with the Miller-Madow correction for short samples (half a
nat for each distinct value but one, over the sample size), and what whole bits waste. Grouped residuals are
priced inside each group, as if each had a Huffman table of its own, tokens beside each key.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import buckets, logs, native, shares, tokens
from mvc.codecs.frames import compress
from mvc.codecs.ig import exponent_keys, residual
from mvc.codecs.native import NONE, RESIDUAL, ROTATE, Step
from mvc.codecs.plane import ESCAPE, NIBBLE_SHARE
from mvc.codecs.planes import split
from mvc.dtypes import DTYPES, DType
from mvc.elements import Elements, octets, scratch, view

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

PIECES = 8
PIECE = 1024  # elements
PREDICTION_MARGIN = 0.97  # a base makes reading slower and must pay for it
GROUPING_MARGIN = 0.985  # so does sorting
BUCKETS_MARGIN = (
    0.95  # rANS instead of Huffman's codes, for one in a hundred, is left to who asks for the best
)
SLOW_TOKENS_MARGIN = 0.7  # without a kernel, rANS is ten times slower than planes are

# Bytes that a record's header grows by, and that a prediction's base takes in it.
_ZSTD_HEADER = 16
_PLANES_HEADER = 48
_ROT_HEADER = 24
_IG_HEADER = 56
_BASE_HEADER = 64
_PLANE_FRAMING = 8
_TOKENS_HEADER = 60
_BUCKETS_HEADER = 50
_BUCKET = 3.5  # a bucket in the list, and its share
_MANY_ZEROS = 0.97  # so many elements other than 0 leave no mask worth coding
_CONTEXT_TABLE = 6  # and of a context of tokens, and of each share in it
_SHARE = 0.9
_BLOCKS_STRADDLE = 1.03  # what is lost where a Huffman table serves the end of a group and the next one
_PAIRED_PERCENT = round(100 * NIBBLE_SHARE)
_HALF_NAT = 47274  # parts of 2^16 of a bit
_REPEAT_BITS = 28  # what a value between two long repeats costs zstd
_FEW_KEYS = 64  # keys with a smaller part of the elements have no context of their own

# A plane that takes so small or so large a share of its bytes alone gains nothing that counts from grouping.
_NOTHING = 0.02
_NOISE = 0.98


class Lane(NamedTuple):
    """How codecs see a dtype: elements of ``width`` bytes, the exponent in ``bits`` bits from ``shift`` up.

    ``bits`` is 0 where there is none.
    """

    width: int
    shift: int
    bits: int


class Choice(Enum):
    """A way to code a tensor."""

    RAW = "raw"
    ZSTD = "zstd"
    PLANES = "planes"
    ROT = "rot, planes"
    RESIDUAL = "residual, planes"
    GROUPED = "grouped residual, planes"
    TOKENS = "residual as tokens"
    BUCKETS = "buckets of elements"


_WITH_BASE = (Choice.RESIDUAL, Choice.GROUPED, Choice.TOKENS)


_PARTS = {"C64": "F32", "C128": "F64", "C64:be": "F32:be", "C128:be": "F64:be"}


def lane(dtype: DType) -> Lane:
    """The lane of a dtype; a complex number is two of its parts, and a block is bytes."""
    if dtype.elements > 1:
        return Lane(1, 0, 0)
    part = DTYPES.get(_PARTS.get(dtype.name, ""), dtype)
    return Lane(part.width, part.exponent_shift, part.exponent_bits)


def ways(seen: Lane, with_base: bool) -> list[Choice]:
    """The ways that such elements can be coded in."""
    found = [Choice.RAW, Choice.ZSTD, Choice.PLANES]
    if seen.bits and seen.width > 1:
        found.append(Choice.ROT)
    if seen.bits:
        found.append(Choice.BUCKETS)
    if with_base:
        found += [Choice.RESIDUAL, Choice.TOKENS]
        if seen.bits:
            found.append(Choice.GROUPED)
    return found


def choose(plain: Buffer, seen: Lane, prediction: Buffer | None) -> Choice:
    """The way that a sample says is smallest, with a margin for the slower ones.

    ``prediction`` has the length of ``plain``.
    """
    target, _ = view(plain, seen.width)
    if target.size == 0:
        return Choice.RAW
    picks = _sample_places(target.size)
    base = None if prediction is None else _gather(view(prediction, seen.width)[0], picks)
    return decide(_costs(_gather(target, picks), seen, base, target.size))


def choose_alone(plain: Buffer, seen: Lane) -> Choice:
    """Byte planes or nothing, whichever a sample says is smaller."""
    target, _ = view(plain, seen.width)
    if target.size == 0:
        return Choice.RAW
    found = _alone(_gather(target, _sample_places(target.size)), seen, target.size)
    return min(found, key=found.__getitem__)


def cost(sample: Elements, seen: Lane, base: Elements | None, count: int) -> float:
    """Bytes that a record of ``count`` elements takes, headers included, going by a sample of them.

    ``sample``: unsigned little-endian elements of ``seen.width`` bytes, at least one, at best 8 stretches of
    1,024 that are spread evenly; ``base``: the elements in the same places of what it may be predicted from.
    """
    found = _costs(sample, seen, base, count)
    return found[decide(found)]


def costs(sample: Elements, seen: Lane, base: Elements | None, count: int) -> dict[Choice, float]:
    """The same for each way; those that need a base only if there is one."""
    found = _costs(sample, seen, base, count)
    if base is not None:
        found |= _planes_of_residuals(sample, seen, base, count)
    return found


def _costs(sample: Elements, seen: Lane, base: Elements | None, count: int) -> dict[Choice, float]:
    """The ways that are worth pricing.

    With a kernel, tokens leave nothing to planes of residuals, but where there is nothing to subtract: a
    residual against 0 is a whole element, for whose exponent tokens are too coarse.
    """
    scale = count / sample.size
    found = _alone(sample, seen, count)
    found[Choice.ZSTD] = _ZSTD_HEADER + _zstd_cost(sample) * scale
    if seen.bits and np.count_nonzero(sample) < _MANY_ZEROS * sample.size:
        body, table = _buckets_cost(sample, seen)
        found[Choice.BUCKETS] = _BUCKETS_HEADER + table + body * scale
    if base is not None:
        body, table = _tokens_cost(sample, seen, base, count)
        found[Choice.TOKENS] = _TOKENS_HEADER + _BASE_HEADER + table + body * scale
        if native.KERNEL is None or np.count_nonzero(base) < _MANY_ZEROS * base.size:
            found |= _planes_of_residuals(sample, seen, base, count)
    return found


def _planes_of_residuals(sample: Elements, seen: Lane, base: Elements, count: int) -> dict[Choice, float]:
    scale = count / sample.size
    moved = histograms(Step(RESIDUAL, *seen), sample, base)
    fixed = _PLANES_HEADER + _PLANE_FRAMING * seen.width + _IG_HEADER + _BASE_HEADER
    together, apart = _grouped_costs(moved) if seen.bits else (_planes_cost(moved),) * 2
    return {
        Choice.RESIDUAL: fixed + together * scale,
        Choice.GROUPED: fixed + _BLOCKS_STRADDLE * apart * scale,
    }


def _alone(sample: Elements, seen: Lane, count: int) -> dict[Choice, float]:
    """Ways that a glance can price."""
    scale = count / sample.size
    found = {Choice.RAW: float(count * seen.width)}
    framing = _PLANES_HEADER + _PLANE_FRAMING * seen.width
    if seen.bits and seen.width > 1:  # a rotated byte is another byte, no better
        counts = histograms(Step(ROTATE, seen.width), sample, None)
        found[Choice.ROT] = framing + _ROT_HEADER + _planes_cost(counts) * scale
    else:
        counts = histograms(Step(NONE, seen.width), sample, None)
        found[Choice.PLANES] = framing + _planes_cost(counts) * scale
    return found


def decide(found: dict[Choice, float]) -> Choice:
    """The least of these costs, as :func:`costs` gives them; of nearly equal ones the one that is faster."""
    plain = [choice for choice in found if choice not in _WITH_BASE and choice is not Choice.BUCKETS]
    alone: Choice = min(plain, key=found.__getitem__)
    if found.get(Choice.BUCKETS, inf) < BUCKETS_MARGIN * found[alone]:
        alone = Choice.BUCKETS
    with_base = [choice for choice in _WITH_BASE if choice in found]
    if not with_base or min(found[choice] for choice in with_base) > PREDICTION_MARGIN * found[alone]:
        return alone
    if Choice.GROUPED not in found:
        return Choice.TOKENS
    sorting_pays = found[Choice.GROUPED] < GROUPING_MARGIN * found[Choice.RESIDUAL]
    planes = Choice.GROUPED if sorting_pays else Choice.RESIDUAL
    margin = SLOW_TOKENS_MARGIN if native.KERNEL is None else 1.0
    return Choice.TOKENS if found[Choice.TOKENS] < margin * found[planes] else planes


def _buckets_cost(sample: Elements, seen: Lane) -> tuple[float, float]:
    """Bytes of a sample as buckets, and of the tables, which do not grow with it."""
    cut = buckets.Layout(seen.width, buckets.low_bits(*seen))
    counts = buckets.bucket_counts(sample, cut)
    others = int(counts.sum())
    counts = np.append(counts, sample.size - others)
    bits = int(_entropy_bits(counts[None], counts.sum(keepdims=True))[0])
    return _octets(bits) + cut.low * others / 8, _BUCKET * np.count_nonzero(counts)


def _tokens_cost(sample: Elements, seen: Lane, base: Elements, count: int) -> tuple[float, float]:
    """Bytes of a sample as tokens, and of the tables, which do not grow with it."""
    keep = min(tokens.kept_bits(seen.width, count), 2)  # near enough, with shorter tables
    counts, extra_bits = tokens.token_counts(sample, base, tokens.Layout(*seen), keep)
    least = -(-max(count // _FEW_KEYS, shares.FEW) * sample.size // count)
    bits, contexts, others = entropies(counts, least)
    return extra_bits / 8 + _octets(bits), _CONTEXT_TABLE * contexts + _SHARE * others


def _sample_places(count: int) -> list[slice]:
    if count <= PIECES * PIECE:
        return [slice(0, count)]
    stride = (count - PIECE) // (PIECES - 1)
    return [slice(i * stride, i * stride + PIECE) for i in range(PIECES)]


def _gather(elements: Elements, places: list[slice]) -> Elements:
    return np.concatenate([elements[place] for place in places])


def _zstd_cost(sample: Elements) -> int:
    """Bytes of the sample under zstd's fastest level, which sees what entropies do not: repeats."""
    return len(compress(sample.data, 1))


def histograms(step: Step, sample: Elements, base: Elements | None) -> NDArray[np.int64]:
    """How often each byte occurs in each plane that the step makes of a sample.

    Shape (width, groups, 256): a group for each key that occurs in ``base``, ascending, if the step has
    ``bits``, else one. Valid until the next call.
    """
    groups = min(256, sample.size) if step.bits else 1
    room = scratch("estimate.counts", step.width * groups * 256, np.dtype(np.int64))
    if native.KERNEL is not None:
        beside = None if base is None else octets(base)
        return native.KERNEL.histograms(step, octets(sample), beside, room)
    if step.kind == ROTATE:
        sample = (sample << 1) | (sample >> (8 * step.width - 1))
    elif base is not None:
        sample = residual(sample, base)
    if base is None or not step.bits:
        return np.array([[np.bincount(plane, minlength=256)] for plane in split(sample)])
    keys = exponent_keys(base, step.shift, step.bits)
    upper = keys.astype(np.uint16) << 8
    present = np.flatnonzero(np.bincount(keys, minlength=256))
    counts = room[: step.width * present.size * 256].reshape(step.width, present.size, 256)
    for place, plane in enumerate(split(sample)):
        joint = np.bincount(upper | plane, minlength=1 << 16).reshape(256, 256)
        np.take(joint, present, axis=0, out=counts[place])
    return counts


def _planes_cost(counts: NDArray[np.int64]) -> float:
    """Bytes of a sample as byte planes, from :func:`histograms` with one group."""
    size = int(counts[0].sum())
    return sum(min(size, _octets(bits)) for bits in huffman_bits(counts))


def _grouped_costs(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Bytes of a sample as byte planes: as they are, and with each group coded by itself."""
    size = int(counts[0].sum())
    together = apart = 0.0
    for whole, grouped in zip(
        huffman_bits(counts.sum(axis=1, keepdims=True)), huffman_bits(counts), strict=True
    ):
        cost = min(size, _octets(whole))
        together += cost
        if _NOTHING < cost / size < _NOISE:
            cost = min(cost, _octets(grouped))
        apart += cost
    return together, apart


def _octets(bits: int) -> float:
    return bits / (8 << logs.BITS)


def huffman_bits(counts: NDArray[np.int64]) -> list[int]:
    """Bits, in parts of 2^16, of each plane with these :func:`histograms`; each group has a Huffman code.

    A code of whole bits spends a bit on the most frequent symbol where its share deserves less; two values
    to a symbol, as a plane of small ones has it, halve that. zstd finds repeats where next to all are alike.
    """
    if native.KERNEL is not None:
        return native.KERNEL.huffman(counts, logs.TABLE)
    return [_plane_bits(plane) for plane in counts]


def _plane_bits(counts: NDArray[np.int64]) -> int:
    totals = counts.sum(axis=1)
    most = counts.max(axis=1)
    bits = np.maximum(_entropy_bits(counts, totals), 0)
    whole = 1 << logs.BITS
    # one bit, and none of the entropy of "is it the top?"
    if 100 * int(counts[:, :ESCAPE].sum()) >= _PAIRED_PERCENT * int(totals.sum()):
        top = (most * most << logs.BITS) // (totals * totals)
        twice = 2 * logs.log2(totals)
        others = logs.log2(totals - most) + logs.log2(totals + most)
        lost = top * (twice - 2 * logs.log2(most)) + (whole - top) * (twice - others)
        waste = np.maximum(whole - (lost >> logs.BITS), 0) * totals >> 1
        bits += np.where(2 * most * most > totals * totals, waste, 0)
    else:
        waste = whole * totals + _weighed[most] + _weighed[totals - most] - _weighed[totals]
        bits += np.where(2 * most > totals, waste, 0)
        # in a row of two values there are short repeats everywhere, which zstd takes, and loses by
        repeating = (np.count_nonzero(counts, axis=1) == 2) & (10 * most < 9 * totals)
        bits += np.where(repeating, totals * (whole >> 1), 0)
    return int(np.minimum(bits, _REPEAT_BITS * (totals - most) * whole).sum())


_weighed = logs.weighed(np.arange(PIECES * PIECE + 1))  # of each count that a sample can have


def entropies(counts: NDArray[np.uint32], least: int) -> tuple[int, int, int]:
    """Bits, in parts of 2^16, of symbols with these histograms (rows), each row with a code of its own; how
    many rows have a sum of ``least`` or more; how many of their counts are not 0.
    """
    if native.KERNEL is not None:
        return native.KERNEL.entropies(counts, least, logs.TABLE)
    totals = counts.sum(axis=1)
    present = np.flatnonzero(totals)
    weighty = counts[present[totals[present] >= least]]
    bits = int(_entropy_bits(counts[present], totals[present]).sum())
    return bits, weighty.shape[0], int(np.count_nonzero(weighty))


def _entropy_bits(counts: NDArray[Any], totals: NDArray[Any]) -> NDArray[np.int64]:
    """Bits, in parts of 2^16, of symbols with these histograms (rows) and sums, a code for each."""
    bits = _weighed[totals] - _weighed[counts].sum(axis=1)
    found: NDArray[np.int64] = bits + _HALF_NAT * (np.count_nonzero(counts, axis=1) - 1)
    return found
