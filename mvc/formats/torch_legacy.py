"""torch-legacy: what ``torch.save`` wrote before version 1.6, and writes on demand.

Source: ``torch/serialization.py`` (``_legacy_save``) and ``torch/csrc/serialization.cpp``. Five pickles stand
one behind the other (a magic number, the protocol, what machine it was, what was saved, the keys of the
storages), then each storage in the order of the keys: a count of elements in eight bytes, and the elements.
Both are little-endian on every machine, whatever the third pickle says of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mvc.dtypes import DTYPES
from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.pickled.names import named_tensors, named_values
from mvc.formats.pickled.tensors import Places, Resolver, Storage, storage_dtype, view_of
from mvc.formats.wire.inert import path_of, text_of
from mvc.formats.wire.pickles import Pickle, read_pickle
from mvc.spans import Layout, shown

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

_MAGIC = b"\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little") + b"."  # behind the pickle's protocol
_COUNT_BYTES = 8


@dataclass(frozen=True, slots=True)
class TorchLegacy:
    """Scanner of torch's files from before it wrote zip archives."""

    name: str = "torch-legacy"

    def claims(self, name: str, head: bytes) -> bool:
        """By the magic number, which is a pickle of its own."""
        return head[:1] == b"\x80" and head[2:].startswith(_MAGIC)

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """A span for every name of a tensor."""
        pickle, places = _read(view)
        return {view.name: Layout(self.name, named_tensors(pickle.value, places))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """What was saved beside tensors: an epoch, hyperparameters, the groups of an optimizer."""
        return named_values(*_read(view))


def _read(view: View) -> tuple[Pickle, Places]:
    magic = read_pickle(view)
    protocol = read_pickle(view, magic.end)
    machine = read_pickle(view, protocol.end)
    saved = read_pickle(view, machine.end)
    keys = read_pickle(view, saved.end)
    if magic.value != MAGIC_NUMBER or protocol.value != PROTOCOL:
        raise NotThisFormat("the magic number or the protocol is another")
    storages = _storages(view, saved, keys)
    pickles = (magic, protocol, machine, saved, keys)  # all of which torch.load unpickles
    names = dict.fromkeys(name for pickle in pickles for name in pickle.globals)
    return replace(saved, globals=tuple(names)), Places(_resolver(storages), base=0)


def _storages(view: View, saved: Pickle, keys: Pickle) -> dict[str, Storage]:
    """Where each storage lies, by its key. How wide its elements are, only who refers to it says."""
    dtypes: dict[str, str | None] = {}
    for reference in saved.persistent:
        identity = reference.identity
        if isinstance(identity, tuple) and len(identity) >= 3 and text_of(identity[0]) == "storage":
            is_known, dtype = storage_dtype(path_of(identity[1]))
            key = text_of(identity[2])
            if key is None or not is_known:
                raise NotThisFormat(f"a storage of the unknown class {shown(path_of(identity[1]))}")
            dtypes.setdefault(key, dtype)
    storages: dict[str, Storage] = {}
    position = keys.end
    for item in keys.value if isinstance(keys.value, list) else ():
        key = text_of(item)
        if key is None or key not in dtypes or key in storages:
            raise NotThisFormat("the keys of the storages are not those that the pickle refers to")
        if position + _COUNT_BYTES > view.size:
            raise NotThisFormat("truncated: a storage leaves the file")
        dtype = dtypes[key]
        size = int.from_bytes(view.read(position, _COUNT_BYTES), "little") * DTYPES[dtype or "U8"].width
        position += _COUNT_BYTES
        if position + size > view.size:
            raise NotThisFormat("truncated: a storage leaves the file")
        storages[key] = Storage(position, size, dtype)
        position += size
    if position != view.size:
        raise NotThisFormat(f"{view.size - position} bytes behind the last storage")
    return storages


def _resolver(storages: Mapping[str, Storage]) -> Resolver:
    def resolve(identity: object) -> Storage | None:
        # ("storage", class, key, location, count, view); the view is None or (key, offset, count).
        # A class of the user's own is ("module", class, file, source).
        if not isinstance(identity, tuple) or len(identity) < 3 or text_of(identity[0]) != "storage":
            return None
        storage = storages.get(text_of(identity[2]) or "")
        if storage is None:
            raise NotThisFormat("a storage is missing")
        view = identity[5] if len(identity) > 5 else None
        if view is None:
            return storage
        if not isinstance(view, tuple) or len(view) != 3:
            raise NotThisFormat("a view of a storage is malformed")
        return view_of(storage, view[1], view[2])

    return resolve
