"""A store of very many ids for the benchmark of scale: real index, versions and negotiation, no weights.

Ids come from BLAKE3's stream. What says where pieces lie is real and complete; the packs with the pieces
themselves are not there, because nothing that is counted here reads them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.related import WHO, now
from benchmarks.segments import entries_of, id_stream
from mvc.backends import Backend
from mvc.backends.folder import FolderBackend
from mvc.backends.memory import MemoryBackend
from mvc.fileio import FileIO, TemporaryNames
from mvc.history.treediff import build_tree
from mvc.locators import locator_key
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import Commit, Manifest, Part, TreeEntry
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index, merge, plan_full_merge, plan_merge
from mvc.odb.segment import Entry, Segment
from mvc.refs import encode_target
from mvc.remotes.filters import EVERYTHING, Filter
from mvc.remotes.lookup import Lookup
from mvc.remotes.negotiate import missing
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.transaction import Update, begin
from mvc.view import View, index_of, segment_key

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

BRANCH = "refs/heads/main"


class Unsynced(FileIO):
    """A disk that is not waited for: what a sync costs is not what is asked here."""

    def sync(self, fd: int) -> None:
        """Nothing."""

    def sync_folder(self, path: Path | int) -> None:
        """Nothing."""


class Counted(Backend):
    """A store that counts its requests and bytes by kind, as one far away would be asked."""

    request_bytes = 128 << 10

    def __init__(self, folder: Path) -> None:
        io = Unsynced()
        (folder / "tmp").mkdir(parents=True)
        self.inner = FolderBackend(io, folder, TemporaryNames(io, folder / "tmp"))
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._doomed: list[str] = []

    def sweep(self) -> None:
        """Delete what was to be deleted: until now, earlier states of the store could be read."""
        for key in self._doomed:
            self.inner.delete(key)
        self._doomed.clear()

    def forget(self) -> None:
        """Start counting from here."""
        self.requests.clear()
        self.bytes.clear()

    def _note(self, how: str, key: str, count: int) -> None:
        with self._lock:
            what = f"{how} {key.partition('/')[0]}"
            self.requests[what] += 1
            self.bytes[what] += count

    def get(self, key: str) -> bytes:
        """As the folder's, counted."""
        data = self.inner.get(key)
        self._note("get", key, len(data))
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """As the folder's, counted."""
        data = self.inner.get_range(key, offset, length)
        self._note("get", key, length)
        return data

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """As the folder's, counted."""
        self._note("put", key, sum(memoryview(piece).nbytes for piece in pieces))
        return self.inner.put(key, pieces)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """As the folder's."""
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        """As the folder's, counted."""
        self._note("delete", key, 0)
        if key.startswith("segments/"):
            self._doomed.append(key)
        else:
            self.inner.delete(key)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """As the folder's, counted."""
        self._note("put", key, len(data))
        self.inner.replace(key, expected, data)


class Simulated:
    """A bucket with an index of ``ids`` pieces, put by commits of equal size, and versions on a branch."""

    def __init__(self, folder: Path, ids: int, commits: int) -> None:
        self.backend = Counted(folder)
        self.store = BucketStore(self.backend, Monitor())
        self.store.roots.swap(None, Root(extra={"default_branch": "main"}))
        self.ids = ids
        self.versions: list[CommitId] = []
        self.written_entries = 0
        self._taken = ids
        each = ids // commits
        for number in range(commits):
            self._publish_entries(entries_of(number * each, each))
            self.backend.sweep()

    def _publish_entries(self, entries: list[Entry]) -> None:
        """What a commit does to the index: a new run, merged with others as the policy says."""
        root, raw = self.store.roots.read()
        index = index_of(root, self.backend.inner)
        merged = merge(plan_merge(root.segments, len(entries)), entries, index, self._put_segment)
        self.written_entries += sum(row.entries for row in merged.added)
        self._swap(raw, root, merged.apply(root.segments))

    def _put_segment(self, name: bytes, data: bytes) -> None:
        self.backend.put(segment_key(name), [data])

    def _swap(self, raw: bytes, root: Root, rows: object) -> None:
        if not isinstance(rows, tuple):
            raise SystemExit("the rows changed under the benchmark")
        self.store.roots.swap(raw, root.with_changes(segments=rows))
        kept = {row.name for row in rows}
        for row in root.segments:
            if row.name not in kept:
                self.backend.delete(segment_key(row.name))

    def collect(self) -> None:
        """Merge everything into one run, as a collection does."""
        root, raw = self.store.roots.read()
        merged = merge(
            plan_full_merge(root.segments), [], index_of(root, self.backend.inner), self._put_segment
        )
        self._swap(raw, root, merged.apply(root.segments))

    def commit(self, pieces: int, *, shared: int, alone: bool = False) -> CommitId:
        """Publish a version of one file of so many pieces, of which the first ``shared`` are any that are
        there already, as a version that was moved only in part; ``alone`` one without a parent."""
        old = self.old(shared)
        fresh = [BlobId(one) for one in id_stream(self._taken, pieces - shared)]
        entries = entries_of(self._taken, pieces - shared)
        self._taken += pieces - shared
        parts = tuple(Part(1 << 20, blob) for blob in [*old, *fresh])
        manifest = Manifest("opaque", sum(part.length for part in parts), bytes(32), parts)
        with begin(self.store, "commit", WHO, now()) as transaction:
            put = transaction.writer.put
            file = put(ManifestId, manifest.to_bytes())
            tree = build_tree(
                {"model.safetensors": TreeEntry("model.safetensors", 0, file)},
                lambda made: put(TreeId, made.to_bytes()),
            )
            parents = () if alone else tuple(self.versions[-1:])
            commit = Commit(tree, parents, WHO, now(), "a version")
            identity = put(CommitId, commit.to_bytes())
            transaction.adopt(entries)
            refs: dict[str, bytes | None] = {BRANCH: encode_target(identity)}
            transaction.publish(lambda _view: Update(refs=refs, locate=(identity, commit.parents)))
        self.versions.append(identity)
        return identity

    def old(self, count: int) -> list[BlobId]:
        """Ids of pieces that are there, from the first commit to the last."""
        return [BlobId(id_stream(number * (self.ids // count), 1)[0]) for number in range(count)]

    def far(self) -> View:
        """The store as a client sees it that has nothing of it in memory."""
        return BucketStore(self.backend, Monitor()).read()

    def near(self) -> View:
        """The same state on this machine, uncounted."""
        return BucketStore(self.backend.inner, Monitor()).read()

    def locator_bytes(self, commit: CommitId) -> int:
        """Size of a version's locator."""
        return len(self.backend.inner.get(locator_key(commit)))


def negotiate(
    source: View,
    target: ObjectDatabase,
    tip: CommitId,
    filter: Filter = EVERYTHING,
    heads: Iterable[ObjectId] = (),
) -> int:
    """Find out what a target lacks of a version, and where its records lie; returns how many objects.
    ``heads`` are what the target's refs name."""
    found = missing(source.objects, target, [tip], filter, monitor=Monitor(), at_target=heads)
    lookup = Lookup(source.index) if found.reader is None else found.reader.lookup
    places = lookup.find(found.objects)
    if len(places) != len(found.objects):
        raise SystemExit("not everything was found")
    return len(found.objects)


def look_bases_up(target: ObjectDatabase, bases: Sequence[BlobId]) -> None:
    """What the plan of a push does: find out how deep at the target is what new pieces lean on."""
    if len(Lookup(target.index).find(bases)) != len(bases):
        raise SystemExit("not everything was found")


def empty() -> ObjectDatabase:
    """A client that has nothing."""
    return ObjectDatabase(MemoryBackend(), Index((), _no_segment), Monitor())


def _no_segment(name: bytes) -> Segment:
    raise SystemExit(f"nobody has {name.hex()}")
