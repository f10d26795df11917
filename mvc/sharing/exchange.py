"""What a fetch and a push do with objects: find out what is missing, tell what that takes, bring it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mvc.errors import StorageError
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import MAX_DEPTH
from mvc.odb.segment import Entry
from mvc.refs import BRANCHES, decode_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.filters import EVERYTHING, Filter
from mvc.remotes.negotiate import Missing, missing
from mvc.remotes.sink import Sink
from mvc.remotes.transfer import Plan, plan, transfer
from mvc.store import Store
from mvc.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Wish:
    """Versions and tags that are to come, and what of them."""

    tips: tuple[ObjectId, ...]
    filter: Filter = EVERYTHING


class LeftOut(Exception):
    """The source is a part of another store, and lacks pieces that the target lacks too: it must fetch them
    first."""

    def __init__(self, wanted: Sequence[ObjectId]) -> None:
        super().__init__()
        self.wanted = wanted

    def error(self) -> StorageError:
        """What to tell when fetching them does not help, because they do not stay."""
        return StorageError(
            f"{len(self.wanted):,} pieces that were left out of the clone were fetched and did not stay",
            hint="the warnings say what keeps them from staying",
        )


def bring(store: Store, left_out: LeftOut) -> None:
    """Fetch into a store what it left out.

    Raises:
        StorageError: nobody who may have it can be reached.
    """
    with store.reading() as view:
        view.objects.prefetch(left_out.wanted)


class Exchange:
    """Objects that go from ``source`` to the store that ``tx`` changes.

    Raises:
        ObjectPurged: the target purged something of what is wished for.
        DamageError: the source lacks something of it, or has it damaged.
        StorageError: a store refuses.
    """

    def __init__(
        self,
        source: ObjectDatabase,
        tx: Transaction,
        monitor: Monitor,
        wishes: Sequence[Wish],
        *,
        deepen: bool = False,
    ) -> None:
        self._source = source
        self._tx = tx
        self._monitor = monitor
        heads = [decode_target(value) for _name, value in tx.view.refs.values(BRANCHES)]
        parts = [
            missing(
                source,
                tx.view.objects,
                wish.tips,
                wish.filter,
                monitor=monitor,
                deepen=deepen,
                at_target=heads,
            )
            if wish.tips
            else Missing()
            for wish in wishes
        ]
        self.commits: Sequence[CommitId] = parts[0].commits
        """The versions of the first wish that come, parents first."""
        some = [part for part in parts if part.objects or part.relied or part.gone or part.shallow]
        self.missing = _joined(some)

    def add(self, identities: Iterable[ObjectId]) -> None:
        """Take objects along that refer only to what comes, or is there."""
        known = {*self.missing.objects}
        more = [one for one in identities if one not in known and one not in self._tx.view.objects]
        self.missing = replace(self.missing, objects=(*self.missing.objects, *more))

    def refuse_left_out(self) -> None:
        """Make sure that the source has what is to come.

        Raises:
            LeftOut: it left some of it with the store that it comes from.
        """
        wanted = self._left_out()
        if wanted:
            raise LeftOut(wanted)

    def tell(self) -> int:
        """The bytes that would come, for a dry run. What the source must fetch first is not among them, and
        told as a warning."""
        absent = set(self._left_out())
        if absent:
            self._monitor.warn(
                f"not counted: what was left out of the clone and is fetched first (pieces: {len(absent):,})"
            )
            here = tuple(one for one in self.missing.objects if one not in absent)
            self.missing = replace(self.missing, objects=here)
        sink = DirectSink(self._tx.view.backend)  # nothing gets in
        try:
            return self.plan(sink, exact=True).bytes
        finally:
            sink.close()

    def _left_out(self) -> list[ObjectId]:
        return [one for one in self.missing.objects if self._source.is_elsewhere(one)]

    def plan(self, sink: Sink, *, exact: bool = False) -> Plan:
        """What is to be copied into a sink, or coded anew, and how many bytes that is."""
        return plan(
            self._source, self._tx.view.objects, self.missing, sink, monitor=self._monitor, exact=exact
        )

    def run(self, planned: Plan, sink: Sink, *, verify: bool) -> list[Entry]:
        """Bring it; the transaction has it from then on, and looks up again what that relies on."""
        target = self._tx.view.objects
        entries = transfer(self._source, target, planned, sink, self._monitor, verify=verify)
        self._tx.adopt(entries)
        writer = self._tx.writer
        writer.relied |= planned.relied
        for identity, depth in planned.leaned_on.items():
            writer.leaned_on[identity] = min(depth, writer.leaned_on.get(identity, MAX_DEPTH))
        return entries


def _joined(parts: Sequence[Missing]) -> Missing:
    """Several answers as one."""
    if len(parts) == 1:
        return parts[0]
    return Missing(
        tuple(dict.fromkeys(one for part in parts for one in part.commits)),
        tuple(dict.fromkeys(one for part in parts for one in part.objects)),
        frozenset().union(*(part.shallow for part in parts)),
        frozenset().union(*(part.relied for part in parts)),
        frozenset().union(*(part.gone for part in parts)),
        parts[0].reader if parts else None,
    )
