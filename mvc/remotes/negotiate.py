"""What of some versions one store has and another lacks (docs/design/0027-transfer.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from mvc.errors import CorruptObject, UserError
from mvc.history.reader import read_manifest, read_object, read_tree
from mvc.monitor import Monitor
from mvc.objectid import KINDS, AliasId, BlobId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry, Commit, Tag
from mvc.odb.database import ObjectDatabase
from mvc.odb.segment import Entry
from mvc.remotes.filters import EVERYTHING, Filter, pieces
from mvc.remotes.known import known_objects
from mvc.remotes.lookup import Lookup
from mvc.remotes.probing import probed_objects
from mvc.remotes.reading import ReadAhead, reader_of

_AT_ONCE = 512
"""Versions whose folders are looked at together, and files: bounds what is fetched ahead."""

_MOST_PATHS = 2_000_000
"""Folders may be shared, so that a few can stand for more paths than there is memory."""

_LOOK_UP_BYTES = 1 << 20
_LOOK_UP_EACH = 128 << 10
"""Of the index of a target far away that are fetched at most to find out whether it has by chance what its
versions known to us do not lead to; and for each object, where no version of it is known: mostly an eighth of
a piece."""

_SINGLE_ROUNDS = 2
_GUESSES = 64
_MOST_GUESSES = 1 << 16
"""After so many rounds that went on by one generation each, records of so many versions are read along
which may be the next ones; four times as many in each round that follows."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a target lacks of some versions.

    ``commits`` come parents first. ``objects`` are all that is to be copied, bases apart, each after what it
    refers to: pieces, files, folders, commits, tags, alias entries. ``shallow`` are commits of them whose
    parents a depth left out. ``relied`` was found at the target, and ends the walk there: with ``objects`` it
    is complete. ``gone`` are objects that were purged at the source and that the target does not have.
    """

    commits: tuple[CommitId, ...] = ()
    objects: tuple[ObjectId, ...] = ()
    shallow: frozenset[CommitId] = frozenset()
    relied: frozenset[ObjectId] = frozenset()
    gone: frozenset[ObjectId] = frozenset()
    reader: ReadAhead | None = field(default=None, compare=False, repr=False)
    """Has records in memory that the transfer need not fetch again."""


def missing(
    source: ObjectDatabase,
    target: ObjectDatabase,
    tips: Iterable[ObjectId],
    filter: Filter = EVERYTHING,
    *,
    monitor: Monitor,
    deepen: bool = False,
    at_target: Iterable[ObjectId] = (),
) -> Missing:
    """What ``target`` lacks of commits, tags and alias entries and of all that they refer to.

    The walk ends where the target has an object, because an object that is in an index has everything that it
    refers to; with ``deepen`` it goes on there, for targets that have only a part of their versions.
    ``at_target`` are commits that the target's refs name. Where the target is far away its index is asked for
    little else than a few commits then, and a piece that only versions have which these do not lead to may go
    once more.

    Raises:
        ObjectPurged: the target purged something of it.
        DamageError: the source lacks something of it that the target lacks too, or it is damaged there.
        StorageError: a store refuses.
    """
    tips = list(dict.fromkeys(tips))
    walk = _Walk(source, target, filter, monitor, deepen=deepen)
    if source.backend.near and not target.backend.near and not deepen:
        walk.learn(tips, at_target)
    commits = walk.graph(tips)
    walk.contents(commits.values())
    return walk.result()


class _Walk:
    def __init__(
        self,
        source: ObjectDatabase,
        target: ObjectDatabase,
        filter: Filter,
        monitor: Monitor,
        *,
        deepen: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._filter = filter
        self._deepen = deepen
        self._reader = reader_of(source, target, monitor)
        self._at_target = Lookup(target.index)
        self._relied: set[ObjectId] = set()
        self._gone: set[ObjectId] = set()
        self._shallow: set[CommitId] = set()
        self._lacking: set[ObjectId] = set()
        self._trees: dict[CommitId, TreeId] = {}
        self._seen: set[tuple[str, ObjectId]] = set()
        self._rounds = 0
        self._known: set[ObjectId] = set()
        self._bounded = False
        self._copied: dict[type[ObjectId], dict[ObjectId, None]] = {kind: {} for kind in KINDS.values()}

    def result(self) -> Missing:
        """What was found."""
        commits = tuple(self._copied[CommitId])
        order = (BlobId, ManifestId, TreeId, CommitId, TagId, AliasId)
        objects = tuple(identity for kind in order for identity in self._copied[kind])
        return Missing(
            commits,  # type: ignore[arg-type]  # what is kept under CommitId are those
            objects,
            frozenset(self._shallow),
            frozenset(self._relied),
            frozenset(self._gone),
            self._reader,
        )

    def learn(self, tips: Sequence[ObjectId], heads: Iterable[ObjectId]) -> None:
        """Find out from few look-ups what a target far away has, and bound the others."""
        self._bounded = True
        known = known_objects(self._source, tips, heads)
        if self._target.index.rows:
            known |= probed_objects(self._source, tips, known, self._at_target.known)
        self._known = {identity for identity in known if self._target.refusal(identity) is None}

    # --- commits, tags, alias entries ----------------------------------------------------------------------
    def graph(self, tips: Sequence[ObjectId]) -> dict[CommitId, TreeId]:
        """Walk the graph from its tips; returns the commits whose contents are wanted, with their trees."""
        links: dict[ObjectId, list[ObjectId]] = {}
        commits = [identity for identity in tips if isinstance(identity, CommitId)]
        level = [identity for identity in tips if not isinstance(identity, CommitId)]
        while level:
            level = self._generation(level, links)
            commits += [identity for identity in level if isinstance(identity, CommitId)]
            level = [identity for identity in level if not isinstance(identity, CommitId)]
        level = list(dict.fromkeys(commits))
        generation = 1
        while level:
            last = generation == self._filter.depth
            following = self._generation(level, links, last=last)
            level = [] if last else following
            generation += 1
        for identity in _referred_first(links):
            if identity in self._lacking:
                self._copied[type(identity)][identity] = None
        return self._trees

    def _generation(
        self, level: list[ObjectId], links: dict[ObjectId, list[ObjectId]], *, last: bool = False
    ) -> list[ObjectId]:
        """Read one generation of the graph; returns the next one. The ``last`` one's parents are left out."""
        absent = self._absent(level)
        self._lacking |= absent
        read = [one for one in level if (self._deepen or one in absent) and one not in self._gone]
        if self._reader.prepare(read, around=True) and not last:
            self._guess()
        for identity in read:
            links[identity] = self._links(identity)
        if last:
            left_out = {parent for identity in read for parent in links.get(identity, ())}
            unknown = self._absent_of(left_out - links.keys())
            for identity in read:
                if isinstance(identity, CommitId) and not unknown.isdisjoint(links.get(identity, ())):
                    self._shallow.add(identity)
        following = dict.fromkeys(other for identity in read for other in links.get(identity, ()))
        return [identity for identity in following if identity not in links]

    def _links(self, identity: ObjectId) -> list[ObjectId]:
        """What else of the graph an object of it leads to."""
        match identity:
            case CommitId():
                commit = read_object(self._reader, Commit, identity)
                self._trees[identity] = commit.tree
                return list(commit.parents)
            case TagId():
                return [read_object(self._reader, Tag, identity).target]
            case AliasId():
                entry = read_object(self._reader, AliasEntry, identity)
                return [entry.target, *([] if entry.previous is None else [entry.previous])]
        raise CorruptObject(f"a ref leads to a {identity.word}")

    def _guess(self) -> None:
        """Where a history far away proves long, read along what may be its next generations."""
        self._rounds += 1
        if self._rounds > _SINGLE_ROUNDS and self._filter.depth is None:
            count = min(_GUESSES * 4 ** (self._rounds - _SINGLE_ROUNDS - 1), _MOST_GUESSES)
            likely = (entry for entry in self._reader.lookup.graph() if self._is_likely(entry))
            self._reader.read_along(islice(likely, count))

    def _is_likely(self, entry: Entry) -> bool:
        identity = KINDS[entry.kind](entry.id)
        return not self._reader.has(identity)

    # --- what versions hold --------------------------------------------------------------------------------
    def contents(self, trees: Iterable[TreeId]) -> None:
        """Walk the folders and files of versions, many at a time."""
        waiting = iter(dict.fromkeys(trees))
        while batch := list(islice(waiting, _AT_ONCE)):
            self._folders([("", identity) for identity in batch])

    def _folders(self, level: list[tuple[str, TreeId]]) -> None:
        """Walk folders, each given with the path that ends before its names, down to their files' pieces."""
        by_path = self._filter.leaves_pieces_out  # else what was seen once need not be seen again
        files: dict[tuple[str, ManifestId], None] = {}
        links: dict[ObjectId, list[ObjectId]] = {}
        lacking: set[ObjectId] = set()
        while level:
            level = [item for item in dict.fromkeys(level) if self._first_time(item, by_path=by_path)]
            opened = self._to_read((identity for _path, identity in level), lacking)
            following: list[tuple[str, TreeId]] = []
            for path, identity in level:
                if identity not in opened:
                    continue
                entries = read_tree(self._reader, identity).entries
                links[identity] = [entry.id for entry in entries if isinstance(entry.id, TreeId)]
                for entry in entries:
                    if isinstance(entry.id, TreeId):
                        following.append((f"{path}{entry.name}/", entry.id))
                    else:
                        files[f"{path}{entry.name}", entry.id] = None
            level = following
            if len(files) + len(level) > _MOST_PATHS:
                raise UserError("a version has more files than can be looked at for what lies where")
        ordered = (identity for identity in _referred_first(links) if identity in lacking)
        self._copied[TreeId].update(dict.fromkeys(ordered))
        waiting = (item for item in files if self._first_time(item, by_path=by_path))
        while batch := list(islice(waiting, _AT_ONCE)):
            self._files(batch)

    def _files(self, batch: list[tuple[str, ManifestId]]) -> None:
        """The pieces of some files."""
        lacking: set[ObjectId] = set()
        opened = self._to_read((identity for _path, identity in batch), lacking)
        self._copied[ManifestId].update(dict.fromkeys(one for _path, one in batch if one in lacking))
        wanted: dict[ObjectId, None] = {}
        for path, identity in batch:
            if identity in opened:
                wanted.update(
                    dict.fromkeys(pieces(self._filter, path, read_manifest(self._reader, identity)))
                )
        fresh = [identity for identity in wanted if identity not in self._copied[BlobId]]
        absent = self._absent(fresh)
        self._copied[BlobId].update(dict.fromkeys(one for one in fresh if one in absent))

    def _first_time(self, item: tuple[str, ObjectId], *, by_path: bool) -> bool:
        """Whether a folder or file was not met before."""
        key = item if by_path else ("", item[1])
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _to_read(self, identities: Iterable[ObjectId], lacking: set[ObjectId]) -> set[ObjectId]:
        """Of some folders or files those to look into; ``lacking`` gets what the target lacks of them."""
        identities = list(dict.fromkeys(identities))
        absent = self._absent(identities)
        lacking |= absent
        read = [one for one in identities if (self._deepen or one in absent) and one not in self._gone]
        self._reader.prepare(read)
        return set(read)

    # --- who has what --------------------------------------------------------------------------------------
    def _absent(self, identities: Iterable[ObjectId]) -> set[ObjectId]:
        """Of some objects those that the target lacks and the source has not purged; the others are noted."""
        identities = list(identities)
        absent = self._absent_of(identities)
        self._relied.update(identity for identity in identities if identity not in absent)
        for identity in absent:
            self._target.refuse_purged(identity)
            if self._source.is_gone(identity):
                self._gone.add(identity)
        return absent - self._gone

    def _absent_of(self, identities: Iterable[ObjectId]) -> set[ObjectId]:
        unknown = set(identities) - self._known
        budget = None
        if self._bounded:
            budget = max(_LOOK_UP_BYTES, 0 if self._known else _LOOK_UP_EACH * len(unknown))
        return unknown - self._at_target.known(unknown, budget)


def _referred_first(links: dict[ObjectId, list[ObjectId]]) -> list[ObjectId]:
    """The objects of a graph, each behind those that it refers to."""
    ordered: dict[ObjectId, None] = {}
    entered: set[ObjectId] = set()
    for start in links:
        stack = [start]
        while stack:
            identity = stack[-1]
            if identity in entered:
                stack.pop()
                ordered[identity] = None
                continue
            entered.add(identity)
            stack += [other for other in links[identity] if other in links and other not in entered]
    return list(ordered)
