"""Which versions, files and tensors lost objects belong to: one walk over all of history.

A tree and a manifest are read once, however many versions share them; what holds nothing lost is passed over
from then on. Versions are numbered newest first.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from mvc.errors import MvcError
from mvc.history.reader import read_commit, read_object
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import FOLDER, Manifest, Tree
from mvc.odb.database import ObjectDatabase
from mvc.paths import MAX_DEPTH

MOST_IDS = 100
"""Ids of versions that are listed; of more the newest and the oldest are, and their number."""

MOST_FILES = 1000
"""Files of one damaged object that are listed."""

_MOST_PATHS = 100_000
"""Files of one version that are told apart; folders that share their subfolders can claim billions."""

Range = tuple[int, int]
"""From the first byte to behind the last one."""


@dataclass(frozen=True, slots=True)
class Start:
    """Why an object must be there: the refs that name it (short, or ``HEAD``) and the newest operation of
    the log that does."""

    refs: tuple[str, ...] = ()
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Versions:
    """Some versions: how many, and their ids, newest first; of more than :data:`MOST_IDS` the first and the
    last few of them. ``newest`` and ``oldest`` are empty where there is none."""

    count: int
    newest: str
    oldest: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorPart:
    """Stretches of a tensor, in bytes from its beginning."""

    name: str
    bytes: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class FilePart:
    """What of a file is touched. ``bytes`` are stretches of the file; none where all of it is, as is where
    ``path`` ends in a slash and is a folder (alone for the top one)."""

    path: str
    versions: Versions
    bytes: tuple[Range, ...]
    tensors: tuple[TensorPart, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """What an object and its dependants belong to. ``refs`` lead there; ``operations`` of the log do where no
    ref does. ``file_count`` is greater than the number of ``files`` where those are too many to list."""

    versions: Versions
    refs: tuple[str, ...]
    operations: tuple[str, ...]
    file_count: int
    files: tuple[FilePart, ...]

    @property
    def is_needed(self) -> bool:
        """Whether a name, an operation or a version is known to need it."""
        return bool(self.versions.count or self.refs or self.operations)


class _Hit(NamedTuple):
    """A lost piece within a file, with the stretches of tensors that lie in it; a lost manifest or tree has a
    length of -1."""

    id: ObjectId
    offset: int
    length: int
    tensors: tuple[tuple[str, int, int], ...] = ()


class _Runs:
    """Ascending numbers as runs."""

    __slots__ = ("ends",)

    def __init__(self) -> None:
        self.ends = array("Q")

    def add(self, number: int) -> None:
        if self.ends and self.ends[-1] == number:
            self.ends[-1] = number + 1
        elif not self.ends or self.ends[-1] < number:
            self.ends.extend((number, number + 1))

    def mark(self, marks: bytearray) -> None:
        for at in range(0, len(self.ends), 2):
            start, end = self.ends[at : at + 2]
            marks[start:end] = b"\1" * (end - start)


class History:
    """All versions that ``starts`` reach, with the places where ``lost`` objects stand in them.

    Memory: about 200 bytes for each version, 100 for each tree and manifest, and what is touched.
    """

    def __init__(
        self, database: ObjectDatabase, starts: Mapping[ObjectId, Start], lost: Collection[ObjectId]
    ) -> None:
        self._database = database
        self._starts = starts
        self._lost = lost
        self._ids: list[CommitId | TreeId] = []
        self._parents: list[tuple[int, ...]] = []
        self._clean: set[ObjectId] = set()
        self._dirty: dict[TreeId, tuple[tuple[str, TreeId | ManifestId], ...]] = {}
        self._hits: dict[ObjectId, tuple[_Hit, ...]] = {}
        self._where: dict[ObjectId, dict[tuple[str, ObjectId], _Runs]] = {}
        self._own: dict[ObjectId, int] = {}
        self._look_for()

    @property
    def holders(self) -> set[ObjectId]:
        """The files that hold something lost; lost folders too."""
        return set(self._hits)

    def touched(self, objects: Collection[ObjectId]) -> Touched:
        """What some lost objects belong to."""
        marks = bytearray(len(self._ids))
        by_path: dict[str, tuple[bytearray, list[_Hit]]] = {}
        for identity in objects:
            if identity in self._own:
                marks[self._own[identity]] = 1
            for (path, file), runs in self._where.get(identity, {}).items():
                seen, hits = by_path.setdefault(path, (bytearray(len(self._ids)), []))
                runs.mark(seen)
                runs.mark(marks)
                hits += [hit for hit in self._hits[file] if hit.id == identity]
        refs, operations = self._leading_to(marks)
        for identity in objects:
            start = self._starts.get(identity)
            if start is not None and identity not in self._own:  # a tag, which is no version
                refs = tuple(sorted({*refs, *start.refs}))
                operations = operations if start.refs else (*operations, start.operation)
        files = [self._file(path, *by_path[path]) for path in sorted(by_path, key=str.encode)[:MOST_FILES]]
        return Touched(self._versions(marks), refs, operations, len(by_path), tuple(files))

    # --- what is told ------------------------------------------------------------------------------------
    def _versions(self, marks: bytearray) -> Versions:
        found = [
            number
            for number, identity in enumerate(self._ids)
            if marks[number] and isinstance(identity, CommitId)
        ]
        if not found:
            return Versions(0, "", "", ())
        half = MOST_IDS // 2
        listed = found if len(found) <= MOST_IDS else [*found[:half], *found[-half:]]
        ids = tuple(self._ids[number].hex() for number in listed)
        return Versions(len(found), ids[0], ids[-1], ids)

    def _file(self, path: str, marks: bytearray, hits: list[_Hit]) -> FilePart:
        if any(hit.length < 0 for hit in hits):
            return FilePart(path, self._versions(marks), (), ())
        tensors: dict[str, list[Range]] = {}
        for hit in hits:
            for name, start, end in hit.tensors:
                tensors.setdefault(name, []).append((start, end))
        return FilePart(
            path,
            self._versions(marks),
            _joined((hit.offset, hit.offset + hit.length) for hit in hits),
            tuple(TensorPart(name, _joined(ranges)) for name, ranges in tensors.items()),
        )

    def _leading_to(self, marks: bytearray) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Refs from which one gets to marked versions, and operations that lead where no ref does."""
        reaches = bytearray(marks)
        for number in range(len(self._ids) - 1, -1, -1):
            if any(reaches[parent] for parent in self._parents[number]):
                reaches[number] = 1
        refs: list[str] = []
        operations: list[str] = []
        named = bytearray(len(self._ids))
        for target, start in self._starts.items():
            at = self._own.get(target)
            if at is not None and reaches[at] and start.refs:
                refs += start.refs
                named[at] = 1
        for number, parents in enumerate(self._parents):
            if named[number]:
                for parent in parents:
                    named[parent] = 1
        for target, start in self._starts.items():
            at = self._own.get(target)
            if at is not None and reaches[at] and start.operation and not named[at]:
                operations.append(start.operation)
        unnamed = any(mark and not name for mark, name in zip(marks, named, strict=True))
        return tuple(sorted(set(refs))), tuple(dict.fromkeys(operations)) if unnamed else ()

    # --- the walk ----------------------------------------------------------------------------------------
    def _look_for(self) -> None:
        trees = self._read_commits()
        for number, tree in enumerate(trees):
            if tree is not None:
                self._look_into(number, tree)

    def _read_commits(self) -> list[TreeId | None]:
        """Number all versions, each before its parents, else newest first; gives their trees."""
        read: dict[CommitId, tuple[int, tuple[CommitId, ...], TreeId | None]] = {}
        stack = [start for start in self._starts if isinstance(start, CommitId)]
        while stack:
            identity = stack.pop()
            if identity in read:
                continue
            try:
                commit = read_commit(self._database, identity)
            except MvcError:
                read[identity] = (0, (), None)  # among the lost objects, as is what only it leads to
                continue
            read[identity] = (commit.time.microseconds, commit.parents, commit.tree)
            stack += commit.parents
        children = dict.fromkeys(read, 0)
        for _time, parents, _tree in read.values():
            for parent in parents:
                children[parent] += 1
        ready = [(-read[identity][0], identity) for identity, count in children.items() if not count]
        heapify(ready)
        while ready:
            _time, identity = heappop(ready)
            self._own[identity] = len(self._ids)
            self._ids.append(identity)
            for parent in read[identity][1]:
                children[parent] -= 1
                if not children[parent]:
                    heappush(ready, (-read[parent][0], parent))
        trees = [read[identity][2] for identity in self._ids if isinstance(identity, CommitId)]
        self._parents = [
            tuple(self._own[parent] for parent in read[identity][1])
            for identity in self._ids
            if isinstance(identity, CommitId)
        ]
        for start in self._starts:  # what a forced checkout overwrote is in no version
            if isinstance(start, TreeId):
                self._own[start] = len(self._ids)
                self._ids.append(start)
                self._parents.append(())
                trees.append(start)
        return trees

    def _look_into(self, number: int, tree: TreeId) -> None:
        """Note where in a version something is lost."""
        left = _MOST_PATHS
        stack: list[tuple[str, TreeId | ManifestId]] = [("", tree)]
        while stack and left:
            path, identity = stack.pop()
            if isinstance(identity, ManifestId):
                left -= 1
                self._note(number, path, identity)
            elif self._holds(identity, 0):
                if identity in self._hits:
                    self._note(number, path, identity)
                stack += [
                    (f"{path}{name}/" if isinstance(child, TreeId) else path + name, child)
                    for name, child in self._dirty[identity]
                ]

    def _note(self, number: int, path: str, file: ObjectId) -> None:
        for identity in {hit.id for hit in self._hits[file]}:
            self._where.setdefault(identity, {}).setdefault((path or "/", file), _Runs()).add(number)

    def _holds(self, tree: TreeId, depth: int) -> bool:
        """Whether anything below a tree is lost; what is stands in ``_dirty`` and ``_hits`` then."""
        if tree in self._clean:
            return False
        if tree in self._dirty:
            return True
        try:
            if tree in self._lost or depth > MAX_DEPTH:
                raise _UNREADABLE
            entries = read_object(self._database, Tree, tree).entries
        except MvcError:
            self._hits[tree] = (_Hit(tree, 0, -1),)
            self._dirty[tree] = ()
            return True
        found: list[tuple[str, TreeId | ManifestId]] = []
        for entry in entries:
            if isinstance(entry.id, TreeId):
                if entry.mode == FOLDER and self._holds(entry.id, depth + 1):
                    found.append((entry.name, entry.id))
            elif self._file_holds(entry.id):
                found.append((entry.name, entry.id))
        if not found:
            self._clean.add(tree)
            return False
        self._dirty[tree] = tuple(found)
        return True

    def _file_holds(self, file: ManifestId) -> bool:
        if file in self._clean:
            return False
        if file in self._hits:
            return True
        hits = self._hits_in(file)
        if hits:
            self._hits[file] = hits
        else:
            self._clean.add(file)
        return bool(hits)

    def _hits_in(self, file: ManifestId) -> tuple[_Hit, ...]:
        if file in self._lost:
            return (_Hit(file, 0, -1),)
        try:
            manifest = read_object(self._database, Manifest, file)
        except MvcError:
            return (_Hit(file, 0, -1),)
        pieces = [
            (offset, part.length, part.blob)
            for offset, part in manifest.placed_parts()
            if part.blob is not None and part.blob in self._lost
        ]
        return tuple(_with_tensors(manifest, pieces)) if pieces else ()


_UNREADABLE = MvcError("a tree that is lost")


def _with_tensors(manifest: Manifest, pieces: list[tuple[int, int, BlobId]]) -> Iterator[_Hit]:
    """Lost pieces of a file, in order, with the tensors that lie in them; tensors may share bytes."""
    starts = [offset for offset, _length, _blob in pieces]
    tensors: list[list[tuple[str, int, int]]] = [[] for _ in pieces]
    for span in manifest.tensors:
        end = span.offset + span.length
        for at in range(max(bisect_right(starts, span.offset) - 1, 0), len(pieces)):
            offset, length, _blob = pieces[at]
            if offset >= end:
                break
            first, last = max(offset, span.offset), min(offset + length, end)
            if first < last:
                tensors[at].append((span.name, first - span.offset, last - span.offset))
    for (offset, length, blob), found in zip(pieces, tensors, strict=True):
        yield _Hit(blob, offset, length, tuple(found))


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges in order, those that meet or overlap as one."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
