"""How much there is, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice

from mvc.collection.disk import room
from mvc.errors import ObjectPurged
from mvc.history.decorations import Decorations
from mvc.history.graph import walk
from mvc.history.reader import read_or_gap
from mvc.history.treediff import flatten
from mvc.objectid import KINDS, BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import Manifest, TreeEntry
from mvc.odb.header import RecordHeader, read_headers
from mvc.odb.segment import Entry, SegmentRow, entry_order
from mvc.refs import peeled_target
from mvc.store import STORED, FolderStore, Store
from mvc.view import View

_AT_ONCE = 10_000
"""Records whose headers are read together: enough that neighbours meet, and bounded in memory."""


@dataclass(slots=True)
class Share:
    """Objects of one sort: how many, their plain bytes, and the bytes of their records."""

    objects: int = 0
    plain_bytes: int = 0
    stored_bytes: int = 0


@dataclass(slots=True)
class Version:
    """What one version added: bytes of files that no earlier version has, and of records that it needed
    first."""

    id: CommitId
    subject: str
    tags: tuple[str, ...]
    files_bytes: int
    new_files_bytes: int
    stored_bytes: int


@dataclass(slots=True)
class Stats:
    """Sums over everything that refs and HEAD reach, and over the store.

    ``raw_bytes`` counts each distinct file once; ``copies_bytes`` is what a folder for each version would
    take. ``stored_bytes`` are all bytes of packs, segments, pieces and root as the store has them,
    ``disk_bytes`` what the disk has allocated for the whole store but the trash (in a bucket the same),
    ``trash_bytes`` for that.
    ``elsewhere_bytes`` are the plain bytes of pieces that a partial clone left with another store.
    """

    versions: list[Version] = field(default_factory=list)
    raw_bytes: int = 0
    copies_bytes: int = 0
    stored_bytes: int = 0
    disk_bytes: int = 0
    trash_bytes: int = 0
    pack_bytes: int = 0
    index_bytes: int = 0
    packs: int = 0
    segments: int = 0
    elsewhere_bytes: int = 0
    by_kind: dict[str, Share] = field(default_factory=dict)
    by_codec: dict[str, Share] = field(default_factory=dict)

    @property
    def unreached_bytes(self) -> int:
        """Bytes of packs that no version named by a branch, tag or HEAD needs: undone work, which the
        operation log keeps, tags' own objects, and the packs' heads."""
        return max(self.pack_bytes - sum(version.stored_bytes for version in self.versions), 0)

    @property
    def ratio(self) -> float | None:
        """Stored ÷ raw; None when there is nothing."""
        return self.stored_bytes / self.raw_bytes if self.raw_bytes else None


def stats(store: Store, view: View) -> Stats:
    """Count everything; reads every record's header, and keeps no more than ids and sizes."""
    result = Stats()
    _add_versions(result, view)
    for entry, header in _headers(view):
        for table, key in (
            (result.by_kind, KINDS[entry.kind].word),
            (result.by_codec, _coding(header)),
        ):
            share = table.setdefault(key, Share())
            share.objects += 1
            share.plain_bytes += header.plain_length
            share.stored_bytes += entry.length
    _add_store(result, store)
    return result


def _coding(header: RecordHeader) -> str:
    """How a record was coded, in words: its codecs, and what it was predicted from."""
    if header.recipe is not None:
        return f"{header.codec} from {header.recipe}"
    return header.codec + (" from a base" if header.based else "")


def _headers(view: View) -> Iterator[tuple[Entry, RecordHeader]]:
    """The record of each object that is read first, with its header: many at a time, in order of place."""
    entries = _least_depth(view)
    while batch := list(islice(entries, _AT_ONCE)):
        yield from read_headers(view.backend, batch)


def _least_depth(view: View) -> Iterator[Entry]:
    """The record of each object that is read first, by ascending id: runs are sorted, so nothing is kept."""
    runs: dict[int, list[SegmentRow]] = {}
    for row in view.index.rows:
        runs.setdefault(row.run, []).append(row)
    merged = merge(*(_entries(view, rows) for rows in runs.values()), key=entry_order)
    for _identity, entries in groupby(merged, key=lambda entry: (entry.id, entry.kind)):
        yield next(entries)


def _entries(view: View, run: list[SegmentRow]) -> Iterator[Entry]:
    for row in sorted(run, key=lambda row: (row.first, row.last)):
        yield from (
            entry for entry in view.index.segment(row.name) if entry.pack not in view.index.dead_packs
        )


def starts(view: View) -> list[CommitId]:
    """Commits that refs and HEAD point to."""
    targets = [peeled_target(value) for _name, value in view.refs.values()]
    head = view.head_commit()
    return list(dict.fromkeys(target for target in (*targets, head) if target is not None))


def _add_versions(result: Stats, view: View) -> None:
    seen: set[ObjectId] = set()
    files: set[tuple[int, bytes]] = set()
    contents: dict[ManifestId, tuple[int, bytes]] = {}
    decorations = Decorations(view.refs)

    def cost(identity: ObjectId) -> int:
        """Record bytes of an object and of what it is built on, as far as no earlier version needed them."""
        if identity in seen:
            return 0
        seen.add(identity)
        entries = view.objects.entries(identity)
        return entries[0].length if entries else 0

    oldest_first = [identity for identity, _commit in walk(view.objects, starts(view))][::-1]
    for identity in oldest_first:
        commit = view.commit(identity)
        total, new, stored = 0, 0, cost(identity) + cost(commit.tree)
        for entry in _files(view, commit.tree):
            file = ManifestId(entry.id)
            if file not in contents:
                manifest = read_or_gap(view.objects, file)
                contents[file] = manifest.size, manifest.sha256
                result.elsewhere_bytes += _elsewhere(view, manifest, seen)
                stored += cost(file) + sum(cost(blob) for blob in _blobs(manifest))
            content = contents[file]
            total += content[0]
            if content not in files:
                files.add(content)
                new += content[0]
        names = decorations.entry(identity, commit).tags
        result.versions.append(Version(identity, commit.subject, names, total, new, stored))
        result.raw_bytes += new
        result.copies_bytes += total


def _files(view: View, tree: TreeId) -> Iterable[TreeEntry]:
    """A version's files; none of one that was purged."""
    try:
        return flatten(view.objects, tree).values()
    except ObjectPurged:
        return ()


def _elsewhere(view: View, manifest: Manifest, seen: Collection[ObjectId]) -> int:
    """Bytes of a file's pieces that were left with another store and not met before."""
    lengths = {part.blob: part.length for part in manifest.parts if part.blob is not None}
    fresh = (blob for blob in lengths if blob not in seen)
    return sum(lengths[blob] for blob in fresh if view.objects.is_elsewhere(blob))


def _blobs(manifest: Manifest) -> Iterator[BlobId]:
    for part in manifest.parts:
        if part.blob is not None:
            yield part.blob


def _add_store(result: Stats, store: Store) -> None:
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for place in STORED:
        for _key, size in store.backend.list(place):
            sizes[place] += size
            counts[place] += 1
    root = len(store.roots.read()[1])
    result.packs, result.segments = counts["packs/"], counts["segments/"]
    result.pack_bytes = sizes["packs/"]
    result.index_bytes = sizes["segments/"] + sizes["pieces/"] + sizes["locators/"] + root
    result.stored_bytes = result.pack_bytes + result.index_bytes
    result.disk_bytes = result.stored_bytes
    if isinstance(store, FolderStore):
        result.disk_bytes, result.trash_bytes = room(store.io, store.store)
