"""From plain bytes to a chain of steps and stored bytes; every choice about size and speed is made here.

A reader takes whatever it finds, so these choices may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mvc.codecs import CODECS, Codec, Step
from mvc.codecs.frames import compress
from mvc.codecs.zstd import Zstd
from mvc.dtypes import DType
from mvc.odb.effort import Effort

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from mvc.odb.estimate import Choice, Lane

_BLOCK = 512 << 10  # bytes: the knee of ratio against speed
_PREDICTION_MARGIN = 0.9  # a dictionary makes reading slower and must pay for it
_BEST_MARGIN = 0.98  # as does any prediction, but who asks for the smallest gets more of it
_STEP_HEADER = 16  # bytes that a record's header grows by with a step, and with each of its parameters
_PARAM_HEADER = 8
_BASE_HEADER = 64  # and with a base
_PROBE = 4096  # bytes of each probed piece of opaque data
_PROBES = 4
_HOPELESS = 0.98  # share of a probe's bytes that zstd leaves

_ALONE: Mapping[str, Any] = {}
_WITH_DICTIONARY: Mapping[str, Any] = {"dictionary": True}

_Steps = Sequence[tuple[Codec, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a record keeps of an object. ``used_prediction``: decoding needs the prediction that was given."""

    chain: tuple[Step, ...]
    stored: bytes
    used_prediction: bool


def encode_tensor(
    plain: Buffer, dtype: DType, prediction: Buffer | None, effort: Effort = Effort.NORMAL
) -> Encoded:
    """Code a piece of a tensor; thread-safe.

    ``prediction`` is used when it promises to save 3 % (2 %, if effort is ``BEST``); one whose length is not
    that of ``plain`` never is. The result is never longer than ``plain``.
    """
    from mvc.odb.estimate import choose, choose_alone, lane  # deferred: numpy, and `mvc tag` codes no tensor

    if prediction is not None and memoryview(prediction).nbytes != memoryview(plain).nbytes:
        prediction = None
    seen = lane(dtype)
    if effort is Effort.BEST:
        return _smallest(plain, list(_all_tensor_steps(seen)), prediction)
    choice = choose_alone(plain, seen) if effort is Effort.FAST else choose(plain, seen, prediction)
    return encode_as(plain, choice, seen, prediction)


def encode_opaque(plain: Buffer, dictionary: Buffer | None, effort: Effort = Effort.NORMAL) -> Encoded:
    """Code bytes of no known structure; thread-safe.

    ``dictionary`` is what the bytes may repeat, such as the previous version of the same stretch; it is used
    when that saves a tenth (a fiftieth, if effort is ``BEST``). The result is never longer than ``plain``.
    """
    if effort is Effort.FAST:
        return _raw(plain) if _hopeless(plain) else _encode(plain, [(Zstd(1, 1), _ALONE)], None)
    if effort is Effort.BEST:
        slow = Zstd(19, 19)
        return _smallest(plain, [[(slow, _ALONE)], [(slow, _WITH_DICTIONARY)]], dictionary)
    alone = _raw(plain) if _hopeless(plain) else _encode(plain, [(CODECS["zstd", 1], _ALONE)], None)
    if dictionary is None or not len(alone.stored):
        return alone
    helped = _encode(plain, [(CODECS["zstd", 1], _WITH_DICTIONARY)], dictionary)
    return helped if len(helped.stored) < _PREDICTION_MARGIN * len(alone.stored) else alone


def encode_as(plain: Buffer, choice: Choice, seen: Lane, prediction: Buffer | None) -> Encoded:
    """Code a piece of a tensor in one way, as :func:`encode_tensor` does after choosing it."""
    return _encode(plain, _tensor_steps(choice, seen), prediction)


def _tensor_steps(choice: Choice, seen: Lane) -> _Steps:
    from mvc.codecs.planes import Planes  # deferred: needs numpy
    from mvc.odb.estimate import Choice  # deferred: needs numpy

    if choice is Choice.RAW:
        return []
    if choice is Choice.ZSTD:
        return [(CODECS["zstd", 1], _ALONE)]
    exponent = {"shift": seen.shift, "bits": seen.bits}
    if choice is Choice.TOKENS:
        return [(CODECS["tokens", 1], {"width": seen.width} | exponent)]
    if choice is Choice.BUCKETS:
        from mvc.codecs.buckets import low_bits  # deferred: needs numpy

        return [(CODECS["buckets", 1], {"width": seen.width, "low": low_bits(*seen)})]
    cut = {"width": seen.width, "block": _BLOCK}
    if choice is Choice.PLANES:
        return [(Planes(), cut)]
    if choice is Choice.ROT:
        return [(CODECS["rot", 1], {"width": seen.width}), (Planes(), cut)]
    if choice is Choice.GROUPED:
        # groups follow each other along the plane, so shorter blocks fit their Huffman tables better
        return [(CODECS["ig", 1], cut | exponent), (Planes(window_log=14), cut)]
    return [(CODECS["ig", 1], cut | {"shift": 0, "bits": 0}), (Planes(), cut)]


def _all_tensor_steps(seen: Lane) -> Iterator[_Steps]:
    """Every way that can be the smallest."""
    from mvc.codecs.buckets import Buckets, low_bits  # deferred: needs numpy
    from mvc.codecs.planes import Planes  # deferred: needs numpy
    from mvc.codecs.tokens import Tokens  # deferred: needs numpy

    width = {"width": seen.width}
    yield [(Zstd(19, 19), _ALONE)]
    if seen.bits or seen.width == 1:
        yield [(Buckets(12), width | {"low": low_bits(*seen)})]
        yield [(Buckets(14), width | {"low": low_bits(*seen)})]
    for window in (14, 15, 17):
        for block in (256 << 10, 1 << 20):
            cut = width | {"block": block}
            yield [(Planes(window), cut)]
            if seen.bits and seen.width > 1:
                yield [(CODECS["rot", 1], width), (Planes(window), cut)]
            yield [(CODECS["ig", 1], cut | {"shift": 0, "bits": 0}), (Planes(window), cut)]
            if seen.bits:
                yield [
                    (CODECS["ig", 1], cut | {"shift": seen.shift, "bits": seen.bits}),
                    (Planes(window), cut),
                ]
    for precision in (12, 14):
        yield [(Tokens(precision), width | {"shift": seen.shift, "bits": seen.bits})]


def _smallest(plain: Buffer, ways: Sequence[_Steps], prediction: Buffer | None) -> Encoded:
    """The smallest of all ways that can be gone; with a prediction only where that pays."""
    best, best_with = _raw(plain), None
    for steps in ways:
        if not _uses_prediction(steps):
            best = min(best, _encode(plain, steps, None), key=record_cost)
        elif prediction is not None:
            tried = _encode(plain, steps, prediction)
            if tried.used_prediction and (best_with is None or record_cost(tried) < record_cost(best_with)):
                best_with = tried
    return (
        best_with
        if best_with is not None and record_cost(best_with) < _BEST_MARGIN * record_cost(best)
        else best
    )


def record_cost(encoded: Encoded) -> int:
    """Bytes of a record, but for what every record has."""
    return len(encoded.stored) + _header(encoded.chain) + _BASE_HEADER * encoded.used_prediction


def _header(chain: Sequence[Step]) -> int:
    return sum(_STEP_HEADER + _PARAM_HEADER * len(step.params) for step in chain)


def _uses_prediction(steps: _Steps) -> bool:
    return any(codec.needs_prediction or params.get("dictionary") is True for codec, params in steps)


def _encode(plain: Buffer, steps: _Steps, prediction: Buffer | None) -> Encoded:
    """Apply the steps; the plain bytes themselves where that does not make a record shorter."""
    chain, data = _apply(plain, steps, prediction)
    if not chain or memoryview(data).nbytes + _header(chain) >= memoryview(plain).nbytes:
        return _raw(plain)
    return Encoded(tuple(chain), bytes(data), prediction is not None and _uses_prediction(steps))


def _apply(plain: Buffer, steps: _Steps, prediction: Buffer | None) -> tuple[list[Step], Buffer]:
    """The chain of these steps, and what it stores."""
    if len(steps) == 2:
        from mvc.codecs import fused  # deferred: needs numpy

        (first, params), (second, cut) = steps
        stored = fused.encode(steps[0], steps[1], plain, prediction)
        if stored is not None:
            middle = Step(first.name, first.version, params, memoryview(plain).nbytes)
            return [middle, Step(second.name, second.version, cut, len(stored))], stored
    data = plain
    chain: list[Step] = []
    for codec, params in steps:
        data = codec.encode(data, params, prediction)
        chain.append(Step(codec.name, codec.version, params, memoryview(data).nbytes))
    return chain, data


def _raw(plain: Buffer) -> Encoded:
    return Encoded((), bytes(plain), False)


def _hopeless(plain: Buffer) -> bool:
    """Whether pieces of longer data show nothing to compress, as in files that are compressed already."""
    raw = memoryview(plain).cast("B")
    if len(raw) <= 2 * _PROBE * _PROBES:
        return False
    stride = (len(raw) - _PROBE) // (_PROBES - 1)
    pieces = b"".join(raw[i * stride : i * stride + _PROBE] for i in range(_PROBES))
    return len(compress(pieces, 1)) > _HOPELESS * len(pieces)
