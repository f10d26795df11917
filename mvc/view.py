"""One consistent state of a store: root as it was read, and everything that it leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import islice

from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, InvalidName
from mvc.history.reader import Remembering, read_commit, read_whole_commit
from mvc.history.refnames import check_ref_name, short_ref_name
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId
from mvc.objects import Commit
from mvc.odb.cache import PlainCache
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.segment import Segment
from mvc.odb.supply import Supply
from mvc.oplog import HeadValue, Operation
from mvc.refs import BRANCHES, RefTable, decode_target, peeled_target
from mvc.root import Root
from mvc.tombstones import Tombstones


def segment_key(name: bytes) -> str:
    """Where a segment lies in a backend."""
    return f"segments/{name.hex()}.seg"


def index_of(root: Root, backend: Backend) -> Index:
    """The index that a root describes, its segments opened whole where the backend lies near."""

    def open_segment(name: bytes) -> Segment:
        try:
            return Segment.open(name, backend.view(segment_key(name)))
        except NotFound:
            # root names it, so this is damage, not something that the user asked for and that is not there
            raise CorruptFile(f"index segment {name.hex()[:12]} is missing", hint="run 'mvc fsck'") from None

    return Index(root.segments, open_segment, frozenset(fossil.pack for fossil in root.fossils))


class View:
    """One consistent state of a store: root as it was read, and everything that it leads to."""

    def __init__(
        self,
        root: Root,
        raw: bytes,
        backend: Backend,
        monitor: Monitor,
        cache: PlainCache,
        *,
        index: Index | None = None,
        supply: Supply | None = None,
        assume_head: bool = False,
    ) -> None:
        _check_head(root.head)
        self.root = root
        self.raw = raw
        self.backend = backend
        self._monitor = monitor
        self._cache = cache
        self.refs = RefTable(root.refs, backend)
        self.index = index or index_of(root, backend)
        self._supply = supply
        self._assumed = _default_branch(root) if assume_head and root.head is None else None
        self.tombstones = Tombstones(root.tombstones, backend)
        """What was purged."""
        self.objects = ObjectDatabase(
            backend, self.index, monitor, cache, self.tombstones.refusal, supply=supply
        )
        self.follows: Callable[[str], str | None] = lambda _branch: None
        """Which ref stands for what a branch follows; a repository's settings say so."""

    # --- what revisions are resolved against (history.revisions.Refs)
    # --------------------------------------------
    @property
    def head(self) -> str | CommitId | None:
        """The current branch's full name, or a commit id when HEAD is detached; of a shared store that is
        looked at, its default branch."""
        return self._assumed if self.root.head is None else self.root.head

    def get(self, name: str) -> ObjectId | None:
        """What a ref points to."""
        return self.refs.get(name)

    def names(self, prefix: str) -> Iterator[str]:
        """Refs' names that begin so."""
        return self.refs.names(prefix)

    def previous(self, name: str, n: int) -> ObjectId | None:
        """The n-th earlier value of a ref, or of HEAD; 0 is the value now.

        A ref's own changes count. For HEAD, as in Git's reflog, every switch counts (even to the same
        commit), and every move of the branch that was the current one then.
        """
        if n == 0:
            return self.head_commit() if name == "HEAD" else self.get(name)
        earlier = self._earlier_heads() if name == "HEAD" else self._earlier_values(name)
        return next(islice(earlier, n - 1, None), None)

    def upstream(self, branch: str) -> str | None:
        """The full name of the ref that stands for what a branch follows."""
        return self.follows(branch)

    def _earlier_values(self, name: str) -> Iterator[ObjectId]:
        """The values that a ref had before each of its changes, newest first."""
        for operation in self.operations():
            for change in operation.changes:
                if change.name == name and isinstance(change.before, bytes):
                    yield decode_target(change.before)

    def _earlier_heads(self) -> Iterator[CommitId]:
        """The commits that HEAD meant before each of its changes, newest first.

        Operations are taken back one by one, so that each is seen with the branch that was current then.
        """
        head: HeadValue = self.root.head
        values: dict[str, HeadValue] = {}
        for operation in self.operations():
            changed = {change.name: change.before for change in operation.changes}
            moved = "HEAD" in changed or head in changed
            head = changed.pop("HEAD", head)
            values.update(changed)
            before = self.commit_meant(head, values) if moved else None
            if before is not None:
                yield before

    def commit_meant(self, head: HeadValue, values: Mapping[str, HeadValue]) -> CommitId | None:
        """The commit that HEAD meant when it was ``head`` and refs were ``values``, those that are missing
        there as they are now."""
        if isinstance(head, str):
            value = values[head] if head in values else self.refs.value(head)
            return peeled_target(value) if isinstance(value, bytes) else None
        return None if head is None else CommitId(head)

    # --- what commands ask first
    # ---------------------------------------------------------------------------------
    def head_commit(self) -> CommitId | None:
        """The commit that HEAD means; None before the first one."""
        if isinstance(self.head, CommitId):
            return self.head
        target = None if self.head is None else self.refs.get(self.head)
        return target if isinstance(target, CommitId) else None

    def branch(self) -> str | None:
        """The current branch's short name; None when HEAD is detached."""
        head = self.head
        return head.removeprefix(BRANCHES) if isinstance(head, str) and head.startswith(BRANCHES) else None

    def commit(self, identity: CommitId) -> Commit:
        """Read a commit; without parents where they were left out of what was fetched."""
        return read_commit(self.objects, identity)

    def whole_commit(self, identity: CommitId) -> Commit:
        """Read a commit with all of its parents, whether they are here or not."""
        return read_whole_commit(self.objects, identity)

    @cached_property
    def manifests(self) -> Remembering:
        """Reads as ``objects`` does, and parses each manifest once: for who looks at few versions."""
        return Remembering(self.objects)

    def with_root(self, root: Root, cache: PlainCache | None = None) -> View:
        """What this state would be with another root, one that is about to be swapped in."""
        return View(root, self.raw, self.backend, self._monitor, cache or self._cache, supply=self._supply)

    def operations(self) -> Iterator[Operation]:
        """The operation log, newest first."""
        return self.root.oplog.newest_first(self.backend)


def _default_branch(root: Root) -> str | None:
    named = root.extra.get("default_branch")
    return BRANCHES + named if isinstance(named, str) else None


def _check_head(head: str | CommitId | None) -> None:
    """Refuse a current branch that nobody could have made, whatever root says."""
    if isinstance(head, str):
        try:
            check_ref_name(short_ref_name(head))
        except InvalidName as error:
            raise CorruptFile(f"HEAD: {error.message}", hint="run 'mvc repair'") from None
