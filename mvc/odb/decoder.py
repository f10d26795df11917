"""From a record's stored bytes back to plain bytes; trusts nothing that the record says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mvc.codecs import CODECS, Codec, Step
from mvc.errors import CorruptObject, UnsupportedFeature
from mvc.odb.record import MAX_PLAIN, MAX_STEPS

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_SLACK = 4096  # bytes that a step may put out beyond twice the plain length: framing of very short objects


def decode_chain(
    chain: Sequence[Step], stored: Buffer, plain_length: int, prediction: Buffer | None
) -> Buffer:
    """Undo the steps from last to first.

    Returns exactly ``plain_length`` bytes; with an empty chain ``stored`` itself. Whether they are the right
    bytes is for the caller to see from their id.

    Raises:
        CorruptObject: lengths, parameters, prediction or bytes that do not fit together.
        UnsupportedFeature: a codec, or a version of one, that this mvc does not know.
    """
    codecs = _check(chain, memoryview(stored).nbytes, plain_length, prediction is not None)
    if _may_fuse(chain, plain_length):
        from mvc.codecs import fused  # deferred: needs numpy

        first, second = ((codec, step.params) for codec, step in zip(codecs, chain, strict=True))
        plain = fused.decode(first, second, stored, prediction, plain_length)
        if plain is not None:
            return plain
    return _one_by_one(chain, codecs, stored, plain_length, prediction)


def decode_chain_into(
    chain: Sequence[Step], stored: Buffer, out: memoryview, prediction: Buffer | None
) -> None:
    """Undo the steps and put what comes out, which is as long as ``out``, there; without a copy where the
    chain allows it.

    ``out`` is writable and contiguous. After an error it holds anything.

    Raises:
        CorruptObject, UnsupportedFeature: as :func:`decode_chain`.
    """
    codecs = _check(chain, memoryview(stored).nbytes, out.nbytes, prediction is not None)
    if _may_fuse(chain, out.nbytes):
        import numpy as np  # deferred: 80 ms

        from mvc.codecs import fused  # deferred: needs numpy

        first, second = ((codec, step.params) for codec, step in zip(codecs, chain, strict=True))
        if fused.decode_into(first, second, stored, prediction, np.frombuffer(out, np.uint8)):
            return
    out[:] = memoryview(_one_by_one(chain, codecs, stored, out.nbytes, prediction)).cast("B")


def _may_fuse(chain: Sequence[Step], plain_length: int) -> bool:
    """Whether the native kernel may know how to undo both steps at once."""
    return len(chain) == 2 and chain[0].output_length == plain_length and chain[1].name == "planes"


def _one_by_one(
    chain: Sequence[Step],
    codecs: Sequence[Codec],
    stored: Buffer,
    plain_length: int,
    prediction: Buffer | None,
) -> Buffer:
    data = stored
    for place in reversed(range(len(chain))):
        length = chain[place - 1].output_length if place else plain_length
        step = chain[place]
        data = codecs[place].decode(data, step.params, prediction, length)
        if memoryview(data).nbytes != length:
            raise CorruptObject(
                f"codec {step.name} gave {memoryview(data).nbytes} bytes where {length} belong"
            )
    return data


def _check(chain: Sequence[Step], stored_length: int, plain_length: int, has_prediction: bool) -> list[Codec]:
    """Refuse a chain before anything is allocated for it; returns the codecs of its steps."""
    if not 0 <= plain_length <= MAX_PLAIN:
        raise CorruptObject(f"a plain length of {plain_length} bytes is not allowed")
    if len(chain) > MAX_STEPS:
        raise CorruptObject(f"a chain of {len(chain)} steps; at most {MAX_STEPS} are allowed")
    codecs: list[Codec] = []
    for step in chain:
        _check_types(*step)
        if not 0 <= step.output_length <= 2 * plain_length + _SLACK:
            raise CorruptObject(f"codec {step.name} claims {step.output_length} bytes for {plain_length}")
        codec = CODECS.get((step.name, step.version))
        if codec is None:
            raise UnsupportedFeature(
                f"codec {step.name!r} version {step.version} is unknown",
                hint="a newer mvc wrote this; update mvc",
            )
        if codec.needs_prediction and not has_prediction:
            raise CorruptObject(f"codec {step.name} needs a prediction, and the record has no bases")
        codecs.append(codec)
    expected = chain[-1].output_length if chain else plain_length
    if stored_length != expected:
        raise CorruptObject(f"{stored_length} stored bytes where {expected} belong")
    return codecs


def _check_types(name: Any, version: Any, params: Any, output_length: Any) -> None:
    """A step comes out of msgpack, where any field may be anything."""
    if not (
        isinstance(name, str)
        and type(version) is int
        and isinstance(params, Mapping)
        and type(output_length) is int
    ):
        raise CorruptObject("a step of the chain is malformed")
