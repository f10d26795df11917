"""Is everything that the store should hold there, and sound?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from blake3 import blake3

from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject, MvcError, ObjectPurged, StorageError
from mvc.history.reader import read_tree
from mvc.history.treediff import flatten
from mvc.objectid import KINDS, BlobId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import Commit, Manifest, Tag
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.pack import pack_key, read_record, scan_pack
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.parallel import ordered_map
from mvc.paths import MAX_DEPTH
from mvc.restore import file_pieces
from mvc.upkeep.damaged import DamagedObject
from mvc.upkeep.sample import Sample, Share, Wish
from mvc.upkeep.unsound import Unsound, live_entries, openable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Damage:
    """Something missing or wrong: what, how, and (for objects) which version and file need it. ``object`` is
    an object's whole id, in hexadecimal."""

    what: str
    how: str
    needed_by: str = ""
    object: str = field(default="", compare=False)


@dataclass
class Report:
    """What a check looked at and what it found.

    ``damaged`` are the objects where the damage lies, each with all that it touches; ``explained`` the ids of
    what is only touched. ``sample`` says which share of the records was decoded, where not all or none was.
    ``purged`` counts objects that versions name and that are gone on purpose, ``elsewhere`` those that were
    left with the store that they come from, ``elsewhere_bytes`` their plain bytes; ``shallow`` the versions
    whose earlier history was left there.
    """

    commits: int = 0
    files: int = 0
    objects: int = 0
    records: int = 0
    packs: int = 0
    damage: list[Damage] = field(default_factory=list)
    damaged: list[DamagedObject] = field(default_factory=list)
    sample: Share | None = None
    purged: int = 0
    elsewhere: int = 0
    elsewhere_bytes: int = 0
    shallow: int = 0

    def __post_init__(self) -> None:
        # no fields: they are not part of what is reported
        self._known = set(self.damage)
        self.explained: set[str] = set()

    def add(self, what: str, how: str, needed_by: str = "", identity: ObjectId | None = None) -> None:
        """Note damage, once."""
        found = Damage(what, how, needed_by, "" if identity is None else identity.hex())
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
        self._objects = objects.at_hand().with_index(openable(index))  # what lies elsewhere is not asked for
        self._targets = targets
        self._advance = advance
        self._full = False
        self._seen: set[ObjectId] = set()  # commits, trees of versions and manifests: each is checked once
        self.report = Report()
        self.objects = self._objects
        """The database without the parts of its index that cannot be opened."""
        self.unsound = Unsound(self._objects)
        self._promised: set[BlobId] = set()
        self.incomplete: list[tuple[ManifestId, str]] = []
        """Files that could not be put together, mostly because a piece of them is lost."""

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

    def sampled(self, wish: Wish) -> Report:
        """As :meth:`quick`, and a random share of the records decoded and hashed."""
        self.quick()
        sample = Sample(self._index, wish)
        self.report.sample = sample.share
        ordered = sorted(sample.entries(), key=lambda entry: (entry.pack, entry.offset))
        for problem in ordered_map(self._tested, ordered):
            self.report.records += 1
            if problem is not None:
                self._undecoded(*problem)
        return self.report

    def _tested(self, entry: Entry) -> tuple[ObjectId, str] | None:
        self._advance(entry.length)
        if entry.kind not in KINDS:
            return None  # a newer mvc's
        identity = KINDS[entry.kind](entry.id)
        try:
            self._objects.decode(read_record(self._backend, entry))
        except MvcError as error:
            return identity, error.message
        return None

    def _undecoded(self, identity: ObjectId, how: str) -> None:
        """A record that does not give its object."""
        self.report.add(f"{identity.word} {identity.short}", how, identity=identity)
        self.unsound.record(identity)

    def _unreadable(self, identity: ObjectId, how: str, needed_by: str = "") -> None:
        """An object that cannot be read or understood."""
        self.report.add(f"{identity.word} {identity.short}", how, needed_by, identity)
        self.unsound.object(identity, how)

    # --- files of the store
    # --------------------------------------------------------------------------------------
    def _check_segments(self) -> None:
        for error in self._index.damage():
            self.report.add("index", error.message)

    def _check_places(self) -> None:
        sizes = dict(self._backend.list("packs/"))
        missing: set[bytes] = set()
        for entry in live_entries(self._index):
            size = sizes.get(pack_key(entry.pack))
            if size is None:
                missing.add(entry.pack)
            elif entry.offset + entry.length > size:
                self._damaged_pack(entry.pack, "is shorter than the index says")
        for name in sorted(missing):
            self._damaged_pack(name, "is missing")

    def _damaged_pack(self, name: bytes, how: str) -> None:
        self.report.add(f"pack {name.hex()[:12]}", how)
        self.unsound.pack(name)

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
        try:
            data = self._backend.view(pack_key(name))
            if blake3(data).digest() != name:
                self._damaged_pack(name, "does not hash to its name")
            for problem in ordered_map(self._decoded, self._indexed(name, data)):
                self.report.records += 1
                if isinstance(problem, str):
                    self._damaged_pack(name, problem)
                elif problem is not None:
                    self._undecoded(*problem)
        except NotFound:
            self._damaged_pack(name, "is missing")
        except (CorruptFile, StorageError) as error:
            self._damaged_pack(name, error.message)

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

    def _decoded(self, item: tuple[int, int, Record | CorruptObject]) -> str | tuple[ObjectId, str] | None:
        offset, length, record = item
        self._advance(length)
        if isinstance(record, CorruptObject):
            return f"record at {offset}: {record.message}"
        try:
            self._objects.decode(record)
        except MvcError as error:
            return record.id, error.message
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
            if identity in self._objects.shallow:
                self.report.shallow += 1
            else:
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
        except MvcError:
            self._check_folders(tree, needed_by, place)
            return
        for path, entry in entries.items():
            self._check_once(ManifestId(entry.id), place + path if place else needed_by)

    def _check_folders(self, tree: TreeId, needed_by: str, place: str) -> None:
        """The same folder by folder, going on behind damage."""
        before = len(self.report.damage)
        stack = [(tree, "", 1)]
        seen: set[TreeId] = set()
        while stack:
            folder, path, depth = stack.pop()
            user = place + path if place and path else needed_by
            if folder in seen:
                continue
            seen.add(folder)
            try:
                entries = read_tree(self._objects, folder).entries
            except ObjectPurged:
                self.report.purged += 1
                continue
            except MvcError as error:
                self._unreadable(folder, error.message, user)
                continue
            for entry in entries:
                if isinstance(entry.id, ManifestId):
                    self._check_once(entry.id, place + path + entry.name if place else needed_by)
                elif depth < MAX_DEPTH:
                    stack.append((entry.id, f"{path}{entry.name}/", depth + 1))
        if len(self.report.damage) == before:  # sound in themselves, but too many or too deep together
            self._flat(tree, needed_by)

    def _flat(self, tree: TreeId, needed_by: str) -> None:
        try:
            flatten(self._objects, tree)
        except ObjectPurged:
            return  # told folder by folder
        except MvcError as error:
            self._unreadable(tree, error.message, needed_by)

    def _check_once(self, file: ManifestId, needed_by: str) -> None:
        if file not in self._seen:
            self._seen.add(file)
            self._check_manifest(file, needed_by)

    def _check_manifest(self, identity: ManifestId, needed_by: str) -> None:
        manifest = self._read(identity, Manifest.from_bytes, needed_by)
        if manifest is None:
            return
        self.report.files += 1
        whole = self._check_blobs(manifest, needed_by)
        if self._full and whole:
            self._check_file(identity, manifest, needed_by)

    def _check_blobs(self, manifest: Manifest, needed_by: str) -> bool:
        """False where some piece was purged, or lies elsewhere."""
        whole = True
        for part in manifest.parts:
            if part.blob is not None:
                self.report.objects += 1
                try:
                    if part.blob in self._objects:
                        continue
                    if self._objects.is_gone(part.blob):
                        self.report.purged += 1
                        whole = False
                    elif self._objects.is_elsewhere(part.blob):
                        self._elsewhere(part.blob, part.length)
                        whole = False
                    else:
                        self._unreadable(part.blob, "is missing", needed_by)
                except (CorruptFile, StorageError) as error:
                    self.report.add("index", error.message)
                    self.unsound.missing(part.blob, error.message)
        return whole

    def _elsewhere(self, blob: BlobId, length: int) -> None:
        if blob not in self._promised:
            self._promised.add(blob)
            self.report.elsewhere += 1
            self.report.elsewhere_bytes += length

    def _check_file(self, identity: ManifestId, manifest: Manifest, needed_by: str) -> None:
        digest = hashlib.sha256()
        try:
            for piece in file_pieces(self._objects, manifest):
                digest.update(piece)
                self._advance(len(piece))
        except MvcError as error:
            self.report.add(f"file of manifest {identity.short}", error.message, needed_by, identity)
            self.incomplete.append((identity, error.message))
            return
        if digest.digest() != manifest.sha256:
            self.report.add(
                f"file of manifest {identity.short}",
                "does not have the SHA-256 that its manifest says",
                needed_by,
                identity,
            )
            self.unsound.object(identity, "its file does not have the SHA-256 that it says")

    def _read(self, identity: ObjectId, parse: Callable[[bytes], _T], needed_by: str) -> _T | None:
        self.report.objects += 1
        try:
            return parse(self._objects.get(identity))
        except ObjectPurged:
            self.report.purged += 1
        except MvcError as error:
            self._unreadable(identity, error.message, needed_by)
        return None
