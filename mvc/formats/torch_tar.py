"""torch-tar: what ``torch.save`` wrote before version 0.1.10, a tar archive.

Source: ``legacy_load`` in ``torch/serialization.py``. The member ``storages`` holds the storages, each behind
a pickle of its key, location and class; ``tensors`` how tensors look at them; ``pickle`` what was saved,
which names both by their keys.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from mvc.dtypes import DTYPES
from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.pickled.names import named_tensors, named_values
from mvc.formats.pickled.tensors import NOWHERE, Places, Storage, counts, storage_dtype, view_of
from mvc.formats.wire.inert import path_of, text_of
from mvc.formats.wire.pickles import Pickle, read_pickle
from mvc.formats.wire.tar import read_tar
from mvc.formats.wire.views import Part
from mvc.spans import MAX_RANK, Layout, Span, shown

MAX_LISTED = 20_000
"""Storages, and tensors; each is a pickle of its own."""

_MEMBERS = (b"sys_info", b"pickle", b"storages", b"tensors")
_COUNT_BYTES = 8


@dataclass(frozen=True, slots=True)
class TorchTar:
    """Scanner of torch's oldest files."""

    name: str = "torch-tar"

    def claims(self, name: str, head: bytes) -> bool:
        """By the name of the first member, with which the archive begins."""
        return any(head.startswith(member + b"\0") for member in _MEMBERS)

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """A span for every name of a tensor."""
        pickle, places = _read(view)
        return {view.name: Layout(self.name, named_tensors(pickle.value, places))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """What was saved beside tensors."""
        return named_values(*_read(view))


def _read(view: View) -> tuple[Pickle, Places]:
    members = read_tar(view)
    if "pickle" not in members or "storages" not in members:
        raise NotThisFormat("a tar archive without pickle and storages")
    found: dict[str, Storage | Span] = dict(_storages(members["storages"]))
    if "tensors" in members:
        found |= _tensors(members["tensors"], found)

    def resolve(identity: object) -> Storage | Span | None:
        # A key, or ("storage", class, key, …) as later formats have it; other tuples are classes.
        if isinstance(identity, tuple):
            is_storage = len(identity) > 2 and text_of(identity[0]) == "storage"
            return found.get(_key(identity[2])) if is_storage else None
        if _key(identity) not in found:
            raise NotThisFormat("a storage or tensor is missing")
        return found[_key(identity)]

    part = members["pickle"]
    return read_pickle(part), Places(resolve, part.offset)


def _storages(part: Part) -> dict[str, Storage]:
    found: dict[str, Storage] = {}
    number = read_pickle(part)
    position = number.end
    for _ in range(_count(number)):
        head = read_pickle(part, position)
        if not isinstance(head.value, tuple) or len(head.value) != 3:
            raise NotThisFormat("a storage is not described by key, location and class")
        key, _, cls = head.value
        is_known, dtype = storage_dtype(path_of(cls))
        if not is_known or dtype is None:
            raise NotThisFormat(f"a storage of the unknown class {shown(path_of(cls))}")
        size = int.from_bytes(part.read(head.end, _COUNT_BYTES), "little") * DTYPES[dtype].width
        start = head.end + _COUNT_BYTES
        position = start + size
        if position > part.size:
            raise NotThisFormat("truncated: a storage leaves the file")
        found[_key(key)] = Storage(part.offset + start, size, dtype)
    if position < part.size:
        _add_views(found, read_pickle(part, position).value)
    return found


def _add_views(found: dict[str, Storage], views: object) -> None:
    """Storages that are parts of others: key, key of the whole, offset and count in elements."""
    for view in views if isinstance(views, list) else ():
        if not isinstance(view, tuple) or len(view) != 4 or _key(view[1]) not in found:
            raise NotThisFormat("a view of a storage is malformed")
        found[_key(view[0])] = view_of(found[_key(view[1])], view[2], view[3])


def _tensors(part: Part, storages: Mapping[str, Storage | Span]) -> dict[str, Span]:
    found: dict[str, Span] = {}
    number = read_pickle(part)
    position = number.end
    for _ in range(_count(number)):
        head = read_pickle(part, position)
        if not isinstance(head.value, tuple) or len(head.value) != 3:
            raise NotThisFormat("a tensor is not described by key, storage and class")
        storage = storages.get(_key(head.value[1]))
        if not isinstance(storage, Storage):
            raise NotThisFormat("a storage is missing")
        rank = int.from_bytes(part.read(head.end, 4), "little")  # four more bytes follow, and say nothing
        if rank > MAX_RANK:
            raise NotThisFormat(f"a tensor of {rank} dimensions, more than {MAX_RANK}")
        numbers = struct.unpack(f"<{2 * rank + 1}q", part.read(head.end + 8, 16 * rank + 8))
        position = head.end + 16 + 16 * rank
        shape, strides = counts(numbers[:rank]), counts(numbers[rank:-1])
        span = NOWHERE.view(storage, storage.dtype, numbers[-1], shape, strides)
        if isinstance(span, Span):
            found[_key(head.value[0])] = span
    return found


def _count(pickle: Pickle) -> int:
    if type(pickle.value) is not int or pickle.value < 0:
        raise NotThisFormat("a count is no number")
    if pickle.value > MAX_LISTED:
        raise NotThisFormat(f"more than {MAX_LISTED} storages or tensors")
    return pickle.value


def _key(value: object) -> str:
    """A key, which is a number or its text."""
    text = text_of(value)
    if text is None and type(value) is int and abs(value) < 1 << 64:
        text = str(value)
    if text is None:
        raise NotThisFormat("a key is no number")
    return text
