"""What is still needed: everything that some starting points reach, marked in the index.

A mark is a byte for each row of each segment, so a million objects take a megabyte. Two kinds of need are
told apart. What is *reached* (a version's trees, files, pieces) stays with all that it refers to, because
who finds an object in the index takes all of that for given. A piece that is only a *base* of a kept record
stays by itself. A base that refers to other objects (a manifest, a tree) and is not reached must not stay:
the records that lean on it are listed to be stored anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import compress, islice

from mvc.errors import CorruptObject, DamageError, ObjectMissing, StorageError, UnsupportedFeature
from mvc.history.reader import ObjectReader, read_commit, read_object
from mvc.objectid import KINDS, AliasId, BlobId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry, Manifest, Tag, Tree
from mvc.odb.database import ObjectDatabase
from mvc.odb.header import read_headers
from mvc.odb.pack import read_record
from mvc.odb.record import Record
from mvc.odb.segment import Entry

_AT_ONCE = 10_000
"""Records whose headers are read together."""

_REACHED, _BASE = 1, 2


class Marks:
    """Which rows of a database's index are needed; made by :func:`mark`.

    ``rows`` has a byte for each row of each live segment, by the segment's name; 0 means garbage. ``again``
    are objects whose record leans on what goes: none of their rows is marked, they have to be stored anew.
    """

    def __init__(self, objects: ObjectDatabase) -> None:
        self._objects = objects
        self._index = objects.index
        self.rows: dict[bytes, bytearray] = {row.name: bytearray(row.entries) for row in self._index.rows}
        self.again: set[ObjectId] = set()

    def records(self, identity: ObjectId) -> list[Entry]:
        """An object's marked records."""
        return [entry for name, row, entry in self._index.places(identity) if self.rows[name][row]]

    def reached(self, identity: ObjectId) -> bool:
        """Whether an object stays with all that it refers to."""
        if identity in self.again:
            return True
        return any(self.rows[name][row] == _REACHED for name, row, _entry in self._index.places(identity))

    def entries(self) -> Iterator[Entry]:
        """Every marked record outside of dead packs, in no order."""
        for row in self._index.rows:
            for entry in compress(self._index.segment(row.name), self.rows[row.name]):
                if entry.pack not in self._index.dead_packs:
                    yield entry

    def unmarked(self) -> Iterator[Entry]:
        """Every record outside of dead packs that is not marked, in no order; one that stands in several
        segments comes several times."""
        for row in self._index.rows:
            marked = self.rows[row.name]
            for entry in compress(self._index.segment(row.name), (not mark for mark in marked)):
                if entry.pack not in self._index.dead_packs:
                    yield entry

    def unmark(self, identity: ObjectId) -> None:
        """Take the marks off an object's records."""
        for name, row, _entry in self._index.places(identity):
            self.rows[name][row] = 0

    def mark_all(self) -> None:
        """Mark everything."""
        for rows in self.rows.values():
            rows[:] = bytes([_REACHED]) * len(rows)

    def keep_only(self, entries: Collection[Entry]) -> None:
        """Of the object that these are records of, mark these and no others."""
        for name, row, entry in self._index.places(next(iter(entries)).id):
            self.rows[name][row] = _REACHED if entry in entries else 0

    def keep_too(self, entries: Iterable[Entry]) -> None:
        """Mark these records, whatever else is marked."""
        for wanted in entries:
            for name, row, entry in self._index.places(wanted.id):
                if entry == wanted:
                    self.rows[name][row] = _REACHED

    def add(self, identity: ObjectId, how: int = _REACHED) -> bool:
        """Mark an object; False if it was marked so before.

        Raises:
            ObjectMissing: there is no record of it.
        """
        places = [place for place in self._index.places(identity) if place[2].kind == identity.kind]
        if not places:
            # a damaged id column hides ids; only a sound index may say that something is not there
            for damage in self._index.damage():
                raise damage
            raise ObjectMissing(f"{identity.word} {identity.short} is missing", hint="run 'mvc fsck'")
        best = self._best(places) if len(places) > 1 else places
        known = max(self.rows[name][row] for name, row, _entry in best)
        if known in (_REACHED, how):
            return False
        for name, row, _entry in best:
            self.rows[name][row] = how
        return True

    def _best(self, places: list[tuple[bytes, int, Entry]]) -> list[tuple[bytes, int, Entry]]:
        """Of several records the first sound one of least depth, which serves all that the others serve; all
        where none is sound, so that nothing is thrown away that might be repaired."""
        ordered = sorted(places, key=lambda place: (place[2].depth, place[2].length, place[2].pack))
        for place in ordered:
            try:
                record = read_record(self._objects.backend, place[2])
                if record.depth <= place[2].depth and gives_object(self._objects, record):
                    return [place]
            except (DamageError, StorageError):
                continue
        return ordered


def gives_object(objects: ObjectDatabase, record: Record) -> bool:
    """Whether a record, whose checksum is right, can be decoded by what it leans on: to be known before
    another record of its object may go."""
    try:
        objects.decode(record)
    except (DamageError, StorageError, UnsupportedFeature):
        return False
    return True


def mark(
    objects: ObjectDatabase,
    starts: Iterable[ObjectId],
    *,
    if_present: Iterable[ObjectId] = (),
    earlier: Marks | None = None,
) -> Marks:
    """Mark what ``starts`` reach, and of ``if_present`` those that are there.

    ``earlier`` are the marks of an older state of the same repository, of which they keep what is still true:
    rows of segments that both have. Rows of segments that are new since all count as reached.

    Raises:
        DamageError: something that is reached is missing or damaged; then nothing may be called garbage.
    """
    marks = Marks(objects)
    walker = _Walker(objects, marks)
    if earlier is not None:
        for name, known in earlier.rows.items():
            if name in marks.rows:
                marks.rows[name] = bytearray(known)
        for row in objects.index.rows:
            if row.name not in earlier.rows:
                for entry in objects.index.segment(row.name):
                    if entry.pack not in objects.index.dead_packs:
                        walker.walk(typed(entry))
        for identity in earlier.again:
            walker.walk(identity)
    for identity in starts:
        walker.walk(identity)
    for identity in if_present:
        if identity in objects:
            walker.walk(identity)
    _mark_bases(objects, marks)
    return marks


def mark_reached(objects: ObjectDatabase, starts: Iterable[ObjectId]) -> Marks:
    """Mark what ``starts`` reach, and nothing that is only leaned on.

    Raises:
        DamageError: something that is reached is missing or damaged.
    """
    marks = Marks(objects)
    walker = _Walker(objects, marks)
    for identity in starts:
        walker.walk(identity)
    return marks


def typed(entry: Entry) -> ObjectId:
    """The id of an entry's object.

    Raises:
        CorruptObject: of a kind that this mvc does not know.
    """
    if entry.kind not in KINDS:
        raise CorruptObject(f"the index lists an object of the unknown kind {entry.kind}", hint="upgrade mvc")
    return KINDS[entry.kind](entry.id)


class _Walker:
    """Follows references: commit → parents and tree → folders and files → pieces; tag and alias → commit."""

    def __init__(self, objects: ObjectDatabase, marks: Marks) -> None:
        self._objects = objects
        self._marks = marks

    def walk(self, start: ObjectId) -> None:
        stack = [start]
        while stack:
            identity = stack.pop()
            if self._objects.is_gone(identity) or self._objects.is_elsewhere(identity):
                continue  # purged, or left with who has it: missing on purpose
            if self._marks.add(identity) and not isinstance(identity, BlobId):
                stack += references(self._objects, identity)


def references(objects: ObjectReader, identity: ObjectId) -> list[ObjectId]:
    """The objects that an object names: not those that its record leans on.

    Raises:
        DamageError: it is missing or damaged.
    """
    match identity:
        case CommitId():
            commit = read_commit(objects, identity)
            return [commit.tree, *commit.parents]
        case TreeId():
            return [entry.id for entry in read_object(objects, Tree, identity).entries]
        case ManifestId():
            parts = read_object(objects, Manifest, identity).parts
            return list(dict.fromkeys(part.blob for part in parts if part.blob is not None))
        case TagId():
            return [read_object(objects, Tag, identity).target]
        case AliasId():
            alias = read_object(objects, AliasEntry, identity)
            return [alias.target, *([alias.previous] if alias.previous is not None else [])]
    raise CorruptObject(f"nothing may refer to a {identity.word}")


def _may_lean(objects: ObjectDatabase, marks: Marks, base: ObjectId) -> bool:
    """Whether what a kept record leans on may stay: a piece by itself, unless it is being purged."""
    if objects.refusal(base) is not None:
        return False
    return isinstance(base, BlobId) or marks.reached(base)


def _mark_bases(objects: ObjectDatabase, marks: Marks) -> None:
    """Mark the pieces that marked records lean on, and what those lean on; list what must be stored anew."""
    deep: Iterable[Entry] = (entry for entry in marks.entries() if entry.depth)
    while True:
        found: list[Entry] = []
        waiting = iter(deep)
        while batch := list(islice(waiting, _AT_ONCE)):
            for _entry, header in read_headers(objects.backend, batch):
                if not all(_may_lean(objects, marks, base.id) for base in header.bases):
                    marks.unmark(header.id)
                    marks.again.add(header.id)
                    continue
                for base in header.bases:
                    if base.id not in marks.again and marks.add(base.id, _BASE):
                        found += [item for item in marks.records(base.id) if item.depth]
        if not found:
            return
        deep = found
