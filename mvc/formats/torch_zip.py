"""torch: what ``torch.save`` and ``torch.jit.save`` write, a zip archive.

Sources: ``torch/serialization.py`` (``_save``) and ``caffe2/serialize/inline_container.cc``. Under one folder
stand ``data.pkl``, the pickle of what was saved, and ``data/KEY``, the bytes of each storage; ``byteorder``
says how these are written. A TorchScript archive has code too, and constants in ``constants.pkl`` and
``constants/KEY``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.pickled.names import named_tensors, named_values
from mvc.formats.pickled.tensors import Places, Resolver, Storage, storage_dtype
from mvc.formats.wire.inert import path_of, text_of
from mvc.formats.wire.pickles import Pickle, read_pickle
from mvc.formats.wire.views import Plain
from mvc.formats.wire.zipdir import MAGIC, STORED, Member, part_of, read_directory, read_member
from mvc.spans import Layout, shown

_OWN_SUFFIXES = (".pt", ".pth", ".ptl")
_SHARED_SUFFIXES = (".bin", ".ckpt", ".tar", ".model", ".state_dict")  # names that others use too

MAX_INFLATED_PICKLE = 64 << 20
"""Of a pickle that was compressed; ``torch.save`` never does."""

_PICKLE, _STORAGES = "data.pkl", "data"
_CONSTANTS_PICKLE, _CONSTANTS = "constants.pkl", "constants"
_MAX_BYTEORDER = 16


@dataclass(frozen=True, slots=True)
class Torch:
    """Scanner of torch's zip archives."""

    name: str = "torch"

    def claims(self, name: str, head: bytes) -> bool:
        """By a name that is torch's alone; or as a zip archive under a usual name of torch's files, or one
        that shows its pickle."""
        lowered = name.lower()
        return lowered.endswith(_OWN_SUFFIXES) or (
            head.startswith(MAGIC) and (lowered.endswith(_SHARED_SUFFIXES) or f"/{_PICKLE}".encode() in head)
        )

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """A span for every name of a tensor whose storage is not compressed."""
        archive = _open(view)
        pickle, places = archive.read(_PICKLE, _STORAGES)
        spans = named_tensors(pickle.value, places)
        if archive.has(_CONSTANTS_PICKLE):
            pickle, places = archive.read(_CONSTANTS_PICKLE, _CONSTANTS)
            spans += named_tensors(pickle.value, places, _CONSTANTS)
        return {view.name: Layout(self.name, spans)}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """What was saved beside tensors: an epoch, hyperparameters, the groups of an optimizer."""
        return named_values(*_open(view).read(_PICKLE, _STORAGES))


@dataclass(frozen=True, slots=True)
class _Archive:
    view: View
    folder: str
    members: Mapping[str, Member]
    big_endian: bool

    def has(self, name: str) -> bool:
        return self.folder + name in self.members

    def read(self, name: str, storages: str) -> tuple[Pickle, Places]:
        """A pickle of the archive, with the folder of the storages that it names."""
        member = self.members[self.folder + name]
        if member.method == STORED:
            part = part_of(self.view, member)
            return read_pickle(part), Places(self._resolver(storages), part.offset, self.big_endian)
        plain = Plain(name, read_member(self.view, member, MAX_INFLATED_PICKLE), self.view)
        return read_pickle(plain), Places(self._resolver(storages), None, self.big_endian)

    def _resolver(self, storages: str) -> Resolver:
        def resolve(identity: object) -> Storage | None:
            # ("storage", class, key, location, count of elements); the count is that of the member's bytes.
            if not isinstance(identity, tuple) or len(identity) < 3 or text_of(identity[0]) != "storage":
                return None
            key = text_of(identity[2])
            member = self.members.get(f"{self.folder}{storages}/{key}")
            if member is None:
                raise NotThisFormat(f"the storage {shown(str(key))} is missing")
            dtype = storage_dtype(path_of(identity[1]))[1]
            offset = member.offset if member.method == STORED else None
            return Storage(offset, member.plain_size, dtype)

        return resolve


def _open(view: View) -> _Archive:
    members = {member.name: member for member in read_directory(view)}
    folders = [name.removesuffix(_PICKLE) for name in members if name.endswith(f"/{_PICKLE}")]
    if not folders:
        raise NotThisFormat(f"a zip archive without {_PICKLE}")
    folder = min(folders, key=len)
    order = members.get(f"{folder}byteorder")
    big_endian = order is not None and read_member(view, order, _MAX_BYTEORDER) == b"big"
    return _Archive(view, folder, members, big_endian)
