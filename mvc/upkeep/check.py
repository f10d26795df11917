"""Is everything that the store should hold there, and sound?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from blake3 import blake3

from mvc.backends import Backend
from mvc.errors import CorruptFile, CorruptObject, MvcError, StorageError
from mvc.history.treediff import flatten
from mvc.objectid import CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import Commit, Manifest, Tag
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.pack import pack_key, scan_pack
from mvc.odb.record import Record
from mvc.parallel import ordered_map
from mvc.restore import file_pieces

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Damage:
    """Something missing or wrong: what, how, and (for objects) which version and file need it."""

    what: str
    how: str
    needed_by: str = ""


@dataclass
class Report:
    """What a check looked at and what it found."""

    commits: int = 0
    files: int = 0
    objects: int = 0
    records: int = 0
    packs: int = 0
    damage: list[Damage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known = set(self.damage)  # no field: it is not part of what is reported

    def add(self, what: str, how: str, needed_by: str = "") -> None:
        """Note damage, once."""
        found = Damage(what, how, needed_by)
        if found not in self._known:
            self._known.add(found)
            self.damage.append(found)


class Checker:
    """Checks one consistent state of a store.

    ``targets`` are the objects that must be there with all that they lead to, each with who needs it.
    ``advance`` hears the bytes that were read.
    """

    def __init__(
        self,
        backend: Backend,
        index: Index,
        objects: ObjectDatabase,
        targets: Mapping[ObjectId, str],
        advance: Callable[[int], None],
    ) -> None:
        self._backend = backend
        self._index = index
        self._objects = objects
        self._targets = targets
        self._advance = advance
        self._full = False
        self._seen: set[ObjectId] = set()  # commits, trees of versions and manifests: each is checked once
        self.report = Report()

    def quick(self) -> Report:
        """Index files whole; commits, trees and manifests read; a record of every blob in a pack that is
        long enough."""
        self._check_segments()
        self._check_places()
        self._check_history()
        return self.report

    def full(self) -> Report:
        """As :meth:`quick`, and every record decoded, every pack and every file hashed."""
        self._full = True
        self.quick()
        for name in self._packs():
            self._check_pack(name)
        return self.report

    # --- files of the store
    # --------------------------------------------------------------------------------------
    def _check_segments(self) -> None:
        for error in self._index.damage():
            self.report.add("index", error.message)

    def _check_places(self) -> None:
        sizes = dict(self._backend.list("packs/"))
        missing: set[bytes] = set()
        try:
            for entry in self._index.entries():
                size = sizes.get(pack_key(entry.pack))
                if size is None:
                    missing.add(entry.pack)
                elif entry.offset + entry.length > size:
                    self.report.add(f"pack {entry.pack.hex()[:12]}", "is shorter than the index says")
        except (CorruptFile, StorageError) as error:
            self.report.add("index", error.message)
        for name in missing:
            self.report.add(f"pack {name.hex()[:12]}", "is missing")

    def _packs(self) -> list[bytes]:
        """Names of all packs that have a live entry in a sound segment."""
        names: set[bytes] = set()
        for row in self._index.rows:
            try:
                names.update(self._index.segment(row.name).packs)
            except (CorruptFile, StorageError) as error:
                self.report.add("index", error.message)
        return sorted(names - set(self._index.dead_packs))

    def _check_pack(self, name: bytes) -> None:
        self.report.packs += 1
        what = f"pack {name.hex()[:12]}"
        try:
            data = self._backend.view(pack_key(name))
            if blake3(data).digest() != name:
                self.report.add(what, "does not hash to its name")
            for problem in ordered_map(self._decoded, self._indexed(name, data)):
                self.report.records += 1
                if problem is not None:
                    self.report.add(*problem)
        except (CorruptFile, StorageError) as error:
            self.report.add(what, error.message)

    def _indexed(self, name: bytes, data: Buffer) -> Iterator[tuple[int, int, Record | CorruptObject]]:
        """A pack's records without those that no segment names any more: they are garbage, and what they lean
        on may be gone."""
        for offset, length, record in scan_pack(name, data):
            if isinstance(record, CorruptObject) or any(
                (entry.pack, entry.offset) == (name, offset) for entry in self._index.find(record.id)
            ):
                yield offset, length, record
            else:
                self._advance(length)

    def _decoded(self, item: tuple[int, int, Record | CorruptObject]) -> tuple[str, str] | None:
        offset, length, record = item
        self._advance(length)
        if isinstance(record, CorruptObject):
            return f"record at {offset}", record.message
        try:
            self._objects.decode(record)
        except MvcError as error:
            return f"{record.id.word} {record.id.short}", error.message
        return None

    # --- history
    # -------------------------------------------------------------------------------------------------
    def _check_history(self) -> None:
        stack: list[tuple[CommitId, str]] = []
        for target, name in self._targets.items():
            commit = self._peeled(target, name)
            if commit is not None:
                stack.append((commit, name))
        while stack:
            identity, needed_by = stack.pop()
            if identity in self._seen:
                continue
            self._seen.add(identity)
            commit_object = self._read(identity, Commit.from_bytes, needed_by)
            if commit_object is None:
                continue
            self.report.commits += 1
            stack += [(parent, f"commit {identity.short}") for parent in commit_object.parents]
            self._check_tree(commit_object.tree, f"commit {identity.short}", f"{identity.short}:")
        # after the versions, so that what is missing is told with its version and path where it has one
        for target, name in self._targets.items():
            if isinstance(target, TreeId):
                self._check_tree(target, name)

    def _peeled(self, target: ObjectId, needed_by: str) -> CommitId | None:
        if isinstance(target, TagId):
            tag = self._read(target, Tag.from_bytes, needed_by)
            return None if tag is None else tag.target
        return target if isinstance(target, CommitId) else None

    def _check_tree(self, tree: TreeId, needed_by: str, place: str = "") -> None:
        """Everything below a tree. ``place`` goes before a file's path in what is reported of it; without
        one, files are needed by whoever needs the tree."""
        if tree in self._seen:
            return
        self._seen.add(tree)
        try:
            entries = flatten(self._objects, tree)
        except MvcError as error:
            self.report.add(f"tree {tree.short}", error.message, needed_by)
            return
        for path, entry in entries.items():
            file = ManifestId(entry.id)
            if file not in self._seen:
                self._seen.add(file)
                self._check_manifest(file, place + path if place else needed_by)

    def _check_manifest(self, identity: ManifestId, needed_by: str) -> None:
        manifest = self._read(identity, Manifest.from_bytes, needed_by)
        if manifest is None:
            return
        self.report.files += 1
        self._check_blobs(manifest, needed_by)
        if self._full:
            self._check_file(identity, manifest, needed_by)

    def _check_blobs(self, manifest: Manifest, needed_by: str) -> None:
        for part in manifest.parts:
            if part.blob is not None:
                self.report.objects += 1
                try:
                    if part.blob not in self._objects:
                        self.report.add(f"blob {part.blob.short}", "is missing", needed_by)
                except (CorruptFile, StorageError) as error:
                    self.report.add("index", error.message)

    def _check_file(self, identity: ManifestId, manifest: Manifest, needed_by: str) -> None:
        digest = hashlib.sha256()
        try:
            for piece in file_pieces(self._objects, manifest):
                digest.update(piece)
                self._advance(len(piece))
        except MvcError as error:
            self.report.add(f"file of manifest {identity.short}", error.message, needed_by)
            return
        if digest.digest() != manifest.sha256:
            self.report.add(
                f"file of manifest {identity.short}",
                "does not have the SHA-256 that its manifest says",
                needed_by,
            )

    def _read(self, identity: ObjectId, parse: Callable[[bytes], _T], needed_by: str) -> _T | None:
        self.report.objects += 1
        try:
            return parse(self._objects.get(identity))
        except MvcError as error:
            self.report.add(f"{identity.word} {identity.short}", error.message, needed_by)
        return None


def damage_lines(report: Report) -> Iterator[str]:
    """Damage as one line each."""
    for item in report.damage:
        yield f"{item.what}: {item.how}" + (f" (needed by {item.needed_by})" if item.needed_by else "")
