"""Which records are copied from one store to another, and how many bytes that takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mvc.errors import Busy, DamageError, ObjectPurged, StorageError
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.header import RecordHeader, read_headers
from mvc.odb.segment import Entry
from mvc.parallel import batches
from mvc.remotes.closure import Grounds, least_deep, may_come_along
from mvc.remotes.lookup import ANY_DEPTH
from mvc.remotes.negotiate import Missing
from mvc.remotes.reading import ReadAhead, reader_of
from mvc.remotes.sink import Sink

_AT_ONCE = 10_000
_ALONE = 0.7
"""Share of its plain bytes that a piece takes at most that leans on nothing, as a rule (FACTS: trained bf16
0.66, fp32 0.83); only a choice hangs on it."""


@dataclass
class Plan:
    """What a transfer does.

    ``copies`` are the records to copy, bases before what leans on them; ``anew`` the objects to be coded
    anew, because what their records lean on does not come along. ``bytes`` is what travels: that of the
    records, with an estimate for those that are coded anew. It is ``exact`` but for these where the headers
    were looked at; else records may turn out to lean on others that come along too.

    ``wanted`` are all objects that are to be at the target afterwards, also those that the sink has;
    ``commits`` the versions among them, parents first. What a transaction must look up again is in ``relied``
    and, once the transfer is over, in ``leaned_on``.
    """

    copies: list[Entry]
    anew: list[ObjectId]
    bytes: int
    exact: bool
    wanted: frozenset[ObjectId]
    relied: frozenset[ObjectId]
    commits: tuple[CommitId, ...]
    grounds: Grounds
    reader: ReadAhead = field(repr=False)

    @property
    def leaned_on(self) -> dict[ObjectId, int]:
        """Objects of the target that copied records lean on, each with the greatest depth at which it must
        be found."""
        return self.grounds.leaned_on


def plan(
    source: ObjectDatabase,
    target: ObjectDatabase,
    missing: Missing,
    sink: Sink,
    *,
    monitor: Monitor | None = None,
    exact: bool = False,
) -> Plan:
    """Plan to copy what is missing and not in the sink.

    Headers of the records are looked at where the source is near, or if the bytes must be ``exact``: far away
    that takes a request for nearly every record.

    Raises:
        ObjectPurged: one of the two stores purged something of it.
        DamageError: the source lacks something of it, or it is damaged there.
        StorageError: a store refuses.
    """
    _refuse_purged(source, target, missing)
    reader = missing.reader or reader_of(source, target, monitor or Monitor())
    grounds = Grounds(target, sink)
    waiting = [identity for identity in missing.objects if sink.depth(identity) is None]
    found = reader.lookup.find(waiting)
    for identity in waiting:
        if identity not in found:
            raise _not_there(source, identity)
    choices = _Choices(source, reader, grounds, {one: least_deep(found[one]) for one in waiting})
    exact = exact or source.backend.near
    if exact:
        choices.close()
    return Plan(
        sorted(choices.chosen.values(), key=order),
        list(choices.anew),
        sum(entry.length for entry in choices.chosen.values()) + sum(choices.anew.values()),
        exact,
        frozenset(missing.objects),
        missing.relied,
        missing.commits,
        grounds,
        reader,
    )


def order(entry: Entry) -> tuple[int, int, bytes, int]:
    """The order in which records go: pieces first and versions last, bases before what leans on them."""
    return entry.kind, entry.depth, entry.pack, entry.offset


def _refuse_purged(source: ObjectDatabase, target: ObjectDatabase, missing: Missing) -> None:
    for identity in missing.objects:
        target.refuse_purged(identity)
    for identity in missing.gone:
        error = source.refusal(identity, missing=True)
        if error is not None and target.refusal(identity, missing=True) is None:
            raise ObjectPurged(f"the other store lacks a part of this: {error.message}", hint=error.hint)


def _not_there(source: ObjectDatabase, identity: ObjectId) -> Exception:
    """Why the source does not have an object."""
    name = f"{identity.word} {identity.short}"
    try:
        source.get(identity)
    except (DamageError, StorageError, ObjectPurged) as error:
        return error
    # it has a part of its versions only, and has just fetched this one from where it has them from
    return Busy(f"{name} was not at hand and is now", hint="run it again")


class _Choices:
    """A record for each object, and for what they lean on; ``anew`` maps objects to estimated bytes."""

    def __init__(
        self, source: ObjectDatabase, reader: ReadAhead, grounds: Grounds, chosen: dict[ObjectId, Entry]
    ) -> None:
        self._source = source
        self._reader = reader
        self._grounds = grounds
        self.chosen = chosen
        self.anew: dict[ObjectId, int] = {}

    def close(self) -> None:
        """Choose bases too, or to do without, until nothing leans on what does not come."""
        waiting = [entry for entry in self.chosen.values() if entry.depth]
        while waiting:
            waiting = self._round(waiting)

    def _round(self, waiting: Iterable[Entry]) -> list[Entry]:
        """Look at what some chosen records lean on; returns the records chosen for that."""
        leaning: dict[ObjectId, list[RecordHeader]] = {}
        for batch in batches(waiting, lambda _entry: 1, _AT_ONCE):
            headers = [header for _entry, header in read_headers(self._source.backend, batch)]
            self._grounds.look(base.id for header in headers for base in header.bases)
            for header in headers:
                for base in dict.fromkeys(base.id for base in header.bases):
                    if not self._is_coming(base, header.depth):
                        leaning.setdefault(base, []).append(header)
        below = {base: min(header.depth for header in headers) for base, headers in leaning.items()}
        found = self._reader.lookup.find(below)
        added: list[Entry] = []
        for base, headers in leaning.items():
            headers = [header for header in headers if header.id not in self.anew]
            entries = [entry for entry in found.get(base, ()) if entry.depth < below.get(base, ANY_DEPTH)]
            if not headers:
                continue
            may_come = base in self.chosen or may_come_along(base, self._grounds)
            entry = least_deep(entries) if entries and may_come else None
            worth = (
                base in self.chosen
                or not self._source.backend.near
                or (entry is not None and entry.length <= _saved(headers))
            )
            if entry is not None and worth:
                self.chosen[base] = entry
                added.append(entry)
                continue
            for header in headers:
                self.anew[header.id] = _alone(header)
                del self.chosen[header.id]
        return [entry for entry in added if entry.depth and entry.id in self.chosen]

    def _is_coming(self, base: ObjectId, below: int) -> bool:
        """Whether a record of that depth will find what it leans on."""
        chosen = self.chosen.get(base)
        if chosen is not None and chosen.depth < below:
            return True
        return base in self.anew or self._grounds.depth(base) is not None


def _alone(header: RecordHeader) -> int:
    """About what a record of the object would take that leans on nothing."""
    return max(header.stored_length, round(_ALONE * header.plain_length))


def _saved(headers: Iterable[RecordHeader]) -> int:
    """What it saves to have what these records lean on."""
    return sum(_alone(header) - header.stored_length for header in headers)
