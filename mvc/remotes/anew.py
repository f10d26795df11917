"""An object coded anew for a store that lacks what its record leans on."""

from __future__ import annotations

from mvc.dtypes import DTYPES, DType
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.encoder import encode_opaque, encode_tensor
from mvc.odb.record import Base, Record
from mvc.remotes.closure import WRITTEN_DEPTH, Grounds

_TYPES = {1: "U8", 2: "BF16", 4: "F32", 8: "F64"}
"""What elements of so many bytes mostly are in files of weights; another type costs bytes, never content."""

_HALF = "F16"
_HALF_EXPONENT = 5


def base_at_target(source: ObjectDatabase, grounds: Grounds, identity: ObjectId) -> Base | None:
    """What at the target an object may lean on instead: where records lean on one whole other object of the
    same length each, as versions of a tensor do, the first one along their way that the target has.

    Raises:
        DamageError: a record on the way cannot be read.
    """
    record = source.record(identity)
    length = record.plain_length
    for _ in range(WRITTEN_DEPTH):
        if len(record.bases) != 1 or record.recipe is not None:
            return None
        (base,) = record.bases
        depth = grounds.at_target(base.id)
        if (base.offset, base.length) != (0, length) or base.id not in source:
            return None
        if depth is not None and depth < WRITTEN_DEPTH:
            return base
        record = source.record(base.id)
        if record.plain_length != length:
            return None
    return None


def coded_anew(source: ObjectDatabase, identity: ObjectId, base: Base | None, base_depth: int) -> Record:
    """A record that leans on nothing, or on ``base``, which the target has at ``base_depth``. Thread-safe.

    Raises:
        DamageError: the object cannot be read.
    """
    plain = source.get(identity)
    prediction = None if base is None else source.get(base.id)[base.offset : base.offset + base.length]
    dtype = _dtype(source.record(identity))
    if dtype is None:
        encoded = encode_opaque(plain, prediction)
    else:
        encoded = encode_tensor(plain, dtype, prediction)
    if base is None or not encoded.used_prediction:
        return Record(identity, len(plain), 0, encoded.chain, None, (), encoded.stored)
    return Record(identity, len(plain), base_depth + 1, encoded.chain, None, (base,), encoded.stored)


def _dtype(record: Record) -> DType | None:
    """The type of the elements that a record's steps take the object for, if they do."""
    for step in record.chain:
        width = step.params.get("width")
        if type(width) is int and width in _TYPES:
            half = width == 2 and step.params.get("bits") == _HALF_EXPONENT
            return DTYPES[_HALF if half else _TYPES[width]]
    return None
