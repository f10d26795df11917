"""Tensors of torch, as pickles describe them: a storage, and how a tensor looks at it.

Source: ``torch/_utils.py`` and ``torch/storage.py``. A pickle names its storages by persistent identities;
where a storage's bytes lie, the file format knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mvc.dtypes import BY_PYTHON_NAME, DTYPES
from mvc.formats.base import NotThisFormat
from mvc.formats.pickled.arrays import array_of, span_of
from mvc.formats.wire.inert import Call, Dict, Persistent, path_of, text_of
from mvc.spans import MAX_RANK, Span, element_count, row_major_strides, touched_elements

_STORAGE_TYPES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexDoubleStorage": "C128",
    "ComplexFloatStorage": "C64",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
    "UntypedStorage": "U8",
    "_UntypedStorage": "U8",
}
_PACKED_STORAGES = frozenset({"QUInt4x2Storage", "QUInt2x4Storage"})  # several elements in a byte
_STORAGE_MODULES = frozenset({"torch", "torch.cuda", "torch.storage", "torch.sparse", "torch.cuda.sparse"})

_TENSOR = "torch._utils._rebuild_tensor"
_TENSOR_V2 = "torch._utils._rebuild_tensor_v2"
_TENSOR_V3 = "torch._utils._rebuild_tensor_v3"
_QUANTISED = "torch._utils._rebuild_qtensor"
_PARAMETERS = frozenset(
    {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
    | {"torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}
)
_SUBCLASSES = frozenset({"torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2"})
_MAX_WRAPPERS = 16
_MAX_METADATA = 16


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a storage's bytes lie in the file: ``size`` bytes at ``offset``, which is None where they do not
    stand there as they are. ``dtype`` is None where several elements share a byte."""

    offset: int | None
    size: int
    dtype: str | None


class Unplaced:
    """What is found for a tensor whose bytes do not stand in the file as they are."""


UNPLACED: Final = Unplaced()


def view_of(storage: Storage, start: object, count: object) -> Storage:
    """A part of a storage, by offset and count in elements; as old files may have them.

    Raises:
        NotThisFormat: these are no counts, or reach beyond the storage.
    """
    width = DTYPES[storage.dtype or "U8"].width
    if type(start) is not int or type(count) is not int or start < 0 or count < 0:
        raise NotThisFormat("a view of a storage is malformed")
    if (start + count) * width > storage.size:
        raise NotThisFormat("a view that reaches beyond its storage")
    offset = None if storage.offset is None else storage.offset + start * width
    return Storage(offset, count * width, storage.dtype)


Resolver = Callable[[object], Storage | Span | None]
"""What a persistent identity stands for in a file: a storage, or (in torch's oldest format) a tensor."""


def storage_dtype(path: str) -> tuple[bool, str | None]:
    """Whether a global is a class of storages, and the dtype of its elements (None: packed)."""
    module, _, name = path.rpartition(".")
    if module not in _STORAGE_MODULES:
        return False, None
    return name in _STORAGE_TYPES or name in _PACKED_STORAGES, _STORAGE_TYPES.get(name)


def is_dtype(path: str) -> bool:
    """Whether a global is an element type of torch."""
    return path.removeprefix("torch.") in BY_PYTHON_NAME


@dataclass(frozen=True, slots=True)
class Places:
    """Finds where the tensors of one pickle lie.

    ``resolve`` knows the persistent identities, ``base`` is where the view of the pickle starts in the file
    (None if it does not stand there as it is), ``big_endian`` the byte order of the storages.
    """

    resolve: Resolver
    base: int | None
    big_endian: bool = False

    def find(self, value: object) -> Span | Unplaced | None:
        """Where a tensor, a storage or an array lies, as a span without a name; None if the value is none.

        Raises:
            NotThisFormat: a tensor that contradicts its storage.
        """
        for _ in range(_MAX_WRAPPERS):
            if type(value) is Persistent:
                return self._storage(value)
            if type(value) is not Call:
                return None
            args = value.args
            if type(args) is not tuple or not args:
                return self._array(value)
            path = path_of(value.function)
            if path in (_TENSOR_V2, _TENSOR):
                return self._tensor(args)
            if path in _PARAMETERS:
                value = args[0]
            elif path in _SUBCLASSES and len(args) >= 3:
                value = Call(args[0], args[2])
            elif path == _TENSOR_V3:
                return self._tensor(args, typed_at=6)
            elif path == _QUANTISED:
                return self._tensor(args)
            else:
                return self._array(value)
        raise NotThisFormat("a tensor wrapped too often")

    def _array(self, value: Call) -> Span | Unplaced | None:
        array = array_of(value)
        if array is None or array.dtype is None:
            return None
        return UNPLACED if self.base is None else span_of(array, self.base) or UNPLACED

    def _storage(self, value: Persistent) -> Span | Unplaced | None:
        """A storage on its own is a tensor of one dimension."""
        place = self.resolve(value.identity)
        if not isinstance(place, Storage):
            return place
        if place.offset is None:
            return UNPLACED
        dtype = place.dtype or "U8"
        count = place.size // DTYPES[dtype].width
        return Span(place.offset, count * DTYPES[dtype].width, "", self._ordered(dtype), (count,))

    def _tensor(self, args: tuple[object, ...], typed_at: int | None = None) -> Span | Unplaced | None:
        """A tensor of ``(storage, offset, shape, strides, …)``, all but the first in elements.

        None where the bytes mean something else than the elements: packed, conjugated, of an unknown type.
        Then the storage, which is among the call's arguments, is found on its own.
        """
        if len(args) < 4 or not isinstance(args[0], (Persistent, tuple)):
            return None
        # Some writers of torch's oldest formats spell the identity out where the storage should be.
        storage = self.resolve(args[0].identity if isinstance(args[0], Persistent) else args[0])
        if not isinstance(storage, Storage):
            return storage
        dtype = storage.dtype
        if typed_at is not None:
            path = path_of(args[typed_at]) if len(args) > typed_at else ""
            dtype = BY_PYTHON_NAME.get(path.removeprefix("torch."))
        elif len(args) > 6 and _is_altered(args[6]):
            return None
        return self.view(storage, dtype, args[1], counts(args[2]), counts(args[3]))

    def view(
        self,
        storage: Storage,
        dtype: str | None,
        start: object,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
    ) -> Span | Unplaced | None:
        """A tensor that looks at a storage; offset, shape and strides in elements. None without a dtype.

        Raises:
            NotThisFormat: these are no counts, or reach beyond the storage.
        """
        if type(start) is not int or start < 0 or shape is None or strides is None:
            raise NotThisFormat("a tensor whose shape, strides or offset are no counts")
        if len(shape) != len(strides) or len(shape) > MAX_RANK:
            raise NotThisFormat("a tensor that has not one stride per dimension, or too many")
        if dtype is None:
            return None
        width = DTYPES[dtype].width
        kept = None if _is_row_major(shape, strides) else strides
        length = touched_elements(shape, kept) * width
        if length and start * width + length > storage.size:
            raise NotThisFormat("a tensor that reaches beyond its storage")
        if storage.offset is None:
            return UNPLACED
        offset = storage.offset + (start * width if length else 0)
        return Span(offset, length, "", self._ordered(dtype), shape, kept)

    def _ordered(self, dtype: str) -> str:
        return f"{dtype}:be" if self.big_endian and f"{dtype}:be" in DTYPES else dtype


NOWHERE: Final = Places(lambda _: None, None)
"""For a pickle without storages, in a view that is not part of the file."""


def counts(value: object) -> tuple[int, ...] | None:
    """A tuple of counts, which may be wrapped in ``torch.Size``."""
    if type(value) is Call and type(value.args) is tuple and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, (tuple, list)):
        return None
    counts = tuple(item for item in value if type(item) is int and item >= 0)
    return counts if len(counts) == len(value) else None


def _is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements lie in row-major order; a stride along an extent of 1 means nothing, and so do all
    strides where there is no element."""
    wanted = row_major_strides(shape)
    return (
        wanted == strides
        or all(
            extent <= 1 or mine == theirs for extent, mine, theirs in zip(shape, wanted, strides, strict=True)
        )
        or element_count(shape) == 0
    )


def _is_altered(metadata: object) -> bool:
    """Whether the metadata of a tensor says that its elements are conjugates or negatives of the bytes."""
    if not isinstance(metadata, Dict):
        return False
    if len(metadata.pairs) > _MAX_METADATA:  # of many tensors this may be one dictionary
        return True
    return any(text_of(key) in ("conj", "neg") and value is not False for key, value in metadata.pairs)
