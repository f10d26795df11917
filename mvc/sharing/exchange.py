"""What a fetch and a push do with objects: find out what is missing, tell what that takes, bring it.

(The loop here is a stand-in for mvc.remotes' negotiation and transfer.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mvc.history.reader import read_commit, read_manifest, read_tag, read_tree
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import MAX_DEPTH, Record
from mvc.odb.segment import Entry
from mvc.remotes.filters import EVERYTHING, Filter
from mvc.remotes.sink import Sink


@dataclass(frozen=True, slots=True)
class Wish:
    """Versions and tags that are to come, and what of them."""

    tips: tuple[ObjectId, ...]
    filter: Filter = EVERYTHING


class Exchange:
    """Objects that are to go from ``source`` to ``target``, into ``sink``."""

    def __init__(self, source: ObjectDatabase, target: ObjectDatabase, sink: Sink, monitor: Monitor) -> None:
        self._source = source
        self._target = target
        self._sink = sink
        self._monitor = monitor
        self.commits: list[CommitId] = []
        self.shallow: frozenset[CommitId] = frozenset()
        self._objects: dict[ObjectId, None] = {}
        self.bytes = 0

    @property
    def objects(self) -> int:
        """How many objects are missing."""
        return len(self._objects)

    def plan(self, wishes: Sequence[Wish]) -> None:
        """Find out what is missing."""
        for wish in wishes:
            self._walk(wish.tips)
        for identity in self._objects:
            self._target.refuse_purged(identity)
        self.bytes = sum(self._source.entries(identity)[0].length for identity in self._objects)

    def run(self) -> list[Entry]:
        """Bring it."""
        self._monitor.start("transferring", self.bytes)
        for identity in self._objects:
            self._take(identity, MAX_DEPTH + 1)
        self._monitor.finish()
        return self._sink.finish()

    def _walk(self, tips: Iterable[ObjectId]) -> None:
        stack = list(tips)
        order: list[CommitId] = []
        while stack:
            identity = stack.pop()
            if identity in self._target or identity in self._objects:
                continue
            self._objects[identity] = None
            if isinstance(identity, CommitId):
                commit = read_commit(self._source, identity)
                order.append(identity)
                stack += [*commit.parents, commit.tree]
            elif isinstance(identity, TagId):
                stack.append(read_tag(self._source, identity).target)
            elif isinstance(identity, TreeId):
                stack += [entry.id for entry in read_tree(self._source, identity).entries]
            elif isinstance(identity, ManifestId):
                stack += [part.blob for part in read_manifest(self._source, identity).parts if part.blob]
        self.commits += reversed(order)

    def _take(self, identity: ObjectId, below: int) -> None:
        here = self._sink.depth(identity)
        if here is not None and here < below:
            return
        there = self._target.entries(identity)
        if there and there[0].depth < below:
            return
        record: Record = self._source.record(identity)
        for base in record.bases:
            self._take(base.id, record.depth)
        self._sink.add(record)
        self._monitor.advance(len(memoryview(record.stored)))
