"""Versions made of two others: one's files with some tensors of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mvc.bases import MAX_TEXT_DEPTH, BaseFinder, FileBases, SketchStore, no_bases, text_hint, text_hints
from mvc.errors import UserError
from mvc.history.reader import ObjectReader, PartTable, Remembering, read_manifest
from mvc.history.tensordiff import SpanPair, diff_tensors
from mvc.history.treediff import build_tree
from mvc.ingest import ingest_source
from mvc.memoryfile import MemoryFile, Stretch
from mvc.merging.archives import checksums, marks_of
from mvc.merging.frames import ARCHIVES, PLAIN
from mvc.merging.hybrid import Replaced, hybrid, stored
from mvc.merging.sides import NotMergeable
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import Commit, Manifest, Person, Timestamp, Tree, TreeEntry
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import MAX_BASES
from mvc.odb.writer import Hint, ObjectWriter
from mvc.paths import shown
from mvc.spans import Span

EXCHANGEABLE = PLAIN | ARCHIVES | {"safetensors"}
"""Formats whose tensors can be replaced at equal size; checksums of archives' members go with them."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A stretch of a file, ``length`` bytes from ``offset``, that the other version has from ``other`` on: a
    tensor, or several that share bytes."""

    path: str
    names: tuple[str, ...]
    offset: int
    other: int
    length: int


@dataclass(frozen=True, slots=True)
class Differences:
    """What can be taken from either version, in the order of the files, and ``apart`` what differs and stays
    as it is: files, or tensors that are ``PATH#NAME``."""

    changed: tuple[Changed, ...]
    apart: tuple[str, ...]


def differences(
    reader: ObjectReader,
    good: Mapping[str, TreeEntry],
    bad: Mapping[str, TreeEntry],
    wanted: Callable[[str], bool],
) -> Differences:
    """Compare two versions' files by tensors, without reading any; only ``wanted`` paths offer theirs.

    Raises:
        UserError: tensors of such a file cannot be replaced in it.
    """
    changed: list[Changed] = []
    apart: list[str] = []
    for path in sorted({*good, *bad}):
        mine, others = good.get(path), bad.get(path)
        if mine == others:
            continue
        if mine is None or others is None or not wanted(path):
            apart.append(path)
            continue
        pair = read_manifest(reader, _id(mine)), read_manifest(reader, _id(others))
        if pair[0].same_file(pair[1]):
            continue
        if not all(manifest.tensors for manifest in pair) or pair[0].format != pair[1].format:
            apart.append(path)
            continue
        if pair[0].format not in EXCHANGEABLE:
            raise UserError(
                f"tensors of {shown(path)} cannot be exchanged: a {pair[0].format} file has no room for that",
                hint="convert both versions to safetensors; --file PATH looks at another file only",
            )
        found, left = _of_file(path, *pair)
        changed += found
        apart += left
    return Differences(tuple(changed), tuple(apart))


def _of_file(path: str, good: Manifest, bad: Manifest) -> tuple[list[Changed], list[str]]:
    diff = diff_tensors(good, bad)
    apart = [span.name for span in (*diff.added, *diff.removed)] + [pair.new.name for pair in diff.reshaped]
    differs = {id(pair) for pair in diff.maybe_changed}
    pairs = [pair for pair in (*diff.maybe_changed, *diff.unchanged) if pair.old.length]
    changed: list[Changed] = []
    for group in _sharing(pairs):
        if not any(id(pair) in differs for pair in group):
            continue
        names = tuple(dict.fromkeys(pair.old.name for pair in group))
        first = group[0]
        shifts = {pair.new.offset - pair.old.offset for pair in group}
        if len(shifts) > 1 or any(not _same_place(pair) for pair in group):
            apart += names
            continue
        end = max(pair.old.offset + pair.old.length for pair in group)
        changed.append(Changed(path, names, first.old.offset, first.new.offset, end - first.old.offset))
    return changed, [f"{path}#{name}" for name in apart]


def _sharing(pairs: Iterable[SpanPair]) -> Iterator[list[SpanPair]]:
    """Tensors in the old file's order, those that share bytes there together."""
    group: list[SpanPair] = []
    end = 0
    for pair in sorted(pairs, key=lambda pair: (pair.old.offset, pair.old.name)):
        if group and pair.old.offset >= end:
            yield group
            group = []
        group.append(pair)
        end = max(end, pair.old.offset + pair.old.length)
    if group:
        yield group


def _same_place(pair: SpanPair) -> bool:
    """Whether the bytes of one are the tensor in the other's place."""
    return (pair.old.length, pair.old.strides) == (pair.new.length, pair.new.strides)


def _id(entry: TreeEntry) -> ManifestId:
    return ManifestId(entry.id)


class Maker:
    """Stores hybrids of two versions. All their tensors are known, so one costs what tells which are
    taken from where."""

    def __init__(
        self,
        good: tuple[CommitId, Commit],
        bad: tuple[CommitId, Commit],
        files: Mapping[str, TreeEntry],
        others: Mapping[str, TreeEntry],
        sketches: SketchStore,
        monitor: Monitor,
    ) -> None:
        self._good, self._bad = good, bad
        self._files, self._others = files, others
        self._sketches = sketches
        self._monitor = monitor

    def store(
        self, writer: ObjectWriter, chosen: Iterable[Changed], message: str, who: Person, now: Timestamp
    ) -> CommitId:
        """The version that is the good one with these tensors of the bad one."""
        by_path: dict[str, list[Changed]] = {}
        for change in chosen:
            by_path.setdefault(change.path, []).append(change)
        files = dict(self._files)
        for path, changes in by_path.items():
            files[path] = files[path]._replace(id=self._file(writer, path, changes))
        before = self._good[1].tree

        def put(tree: Tree) -> TreeId:
            data = tree.to_bytes()
            return writer.put(TreeId, data, text_hint(writer.database, before, len(data)))

        commit = Commit(build_tree(files, put), (self._good[0], self._bad[0]), who, now, message)
        data = commit.to_bytes()
        return writer.put(CommitId, data, text_hint(writer.database, self._good[0], len(data)))

    def _file(self, writer: ObjectWriter, path: str, changes: Iterable[Changed]) -> ManifestId:
        reader = Remembering(writer.database)
        ids = _id(self._files[path]), _id(self._others[path])
        mine, others = (read_manifest(reader, identity) for identity in ids)
        parts = PartTable(others)
        replaced = [
            Replaced(
                Span(change.offset, change.length, change.names[0], "U8", (change.length,)),
                stored(reader, parts, change.other, change.length),
            )
            for change in changes
        ]
        source = _with_checksums(reader, path, mine, replaced)
        finder = _Between(writer, self._sketches, ids)
        identity, manifest, _digests = ingest_source(source, path, writer, finder, self._monitor)
        if manifest.format != mine.format or manifest.tensors != mine.tensors:
            raise UserError(
                f"{shown(path)} is no {mine.format} file of these tensors any more when some are exchanged",
                hint="--file PATH looks at another file only",
            )
        return identity


def _with_checksums(
    reader: ObjectReader, path: str, manifest: Manifest, replaced: list[Replaced]
) -> MemoryFile:
    """A file with tensors replaced, and in an archive the checksums of its members with them.

    Raises:
        UserError: an archive that is not as archives are.
    """
    name = path.rsplit("/", 1)[-1]
    made = hybrid(reader, name, manifest, replaced)
    if manifest.format not in ARCHIVES:
        return made
    try:
        patches = checksums(made, marks_of(made), [one.span for one in replaced])
    except NotMergeable as refusal:
        raise UserError(
            f"tensors of {shown(path)} cannot be exchanged: {refusal.reason}",
            hint="convert both versions to safetensors; --file PATH looks at another file only",
        ) from None
    sums = [
        Replaced(
            Span(patch.offset, len(patch.data), "checksum", "U8", (len(patch.data),)),
            (Stretch.of(patch.data),),
        )
        for patch in patches
    ]
    return hybrid(reader, name, manifest, [*replaced, *sums])


class _Either(FileBases):
    """What stands at a place in either of two files."""

    def __init__(self, database: ObjectDatabase, one: Manifest, other: Manifest) -> None:
        super().__init__(database, None, None)
        self._objects = database
        self._tables = PartTable(one), PartTable(other)

    def content_piece(self, offset: int, length: int) -> Hint:
        # the very stretch, and nothing around it: each base costs as much as ten exchanged tensors
        ids: list[ObjectId] = []
        for table in self._tables:
            if offset + length <= table.size:
                ids += [
                    piece.part.blob for piece in table.pieces(offset, length) if piece.part.blob is not None
                ]
        return text_hints(self._objects, ids[:MAX_BASES], length, MAX_TEXT_DEPTH + 1)


class _Between(BaseFinder):
    """Predicts what is no tensor from two files, and tensors not at all: they are known."""

    def __init__(self, writer: ObjectWriter, store: SketchStore, ids: tuple[ManifestId, ManifestId]) -> None:
        super().__init__(writer.database, store, no_bases, compare=False)
        self._objects = writer.database
        self._ids = ids

    def file(self, path: str, spans: Sequence[Span], read: Callable[[int, int], bytes]) -> FileBases:
        one, other = (read_manifest(self._objects, identity) for identity in self._ids)
        return _Either(self._objects, one, other)

    def manifest(self, path: str, length: int) -> Hint:
        # one deeper than others may be: nothing is to be predicted from it in turn
        return text_hints(self._objects, self._ids, length, MAX_TEXT_DEPTH + 1)
