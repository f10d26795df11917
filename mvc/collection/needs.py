"""What of a store is needed, and what that leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from mvc.objectid import CommitId, ManifestId, ObjectId
from mvc.odb.database import Refusal
from mvc.oplog import Operation
from mvc.refs import decode_target
from mvc.repo import Repository
from mvc.store import Store
from mvc.upkeep.expire import kept_count
from mvc.upkeep.mark import Marks, mark
from mvc.upkeep.usage import PackUse, pack_uses
from mvc.view import View
from mvc.worktree.index import StatCache


def starting_points(view: View, since: int | None) -> Iterator[ObjectId]:
    """What refs, HEAD and the operation log from ``since`` on name."""
    for _name, value in view.refs.values():
        yield decode_target(value)
    if isinstance(view.root.head, CommitId):
        yield view.root.head
    kept, _total = kept_count(view.root.oplog, view.backend, since)
    for operation in islice(view.operations(), kept):
        yield from named_by(operation)


def named_by(operation: Operation) -> Iterator[ObjectId]:
    """What an operation names."""
    for change in operation.changes:
        for state in (change.before, change.after):
            if isinstance(state, bytes):
                yield CommitId(state) if len(state) == 32 else decode_target(state)
    # what a forced checkout overwrote is in no version, and undo needs it
    yield from operation.worktree or ()


def needed(
    store: Store,
    view: View,
    since: int | None = None,
    earlier: Marks | None = None,
    refusal: Refusal | None = None,
) -> Marks:
    """Marks of all that refs, HEAD, operations from ``since`` on and the stat cache reach, without what
    ``refusal`` says is purged.

    Raises:
        DamageError: something of it is missing or damaged.
    """
    unchanged: set[ManifestId] = set()
    if isinstance(store, Repository):  # with a work tree
        cache = StatCache.load(store.io, store.store / "index")
        unchanged = {ManifestId(entry.manifest) for entry in cache.entries.values()}
    objects = view.objects if refusal is None else view.objects.with_refusal(refusal)
    return mark(objects, starting_points(view, since), if_present=unchanged, earlier=earlier)


def uses(view: View, marks: Marks | None) -> dict[bytes, PackUse]:
    """The use of every pack that the index names and that is not condemned; without marks everything that
    the index names is used."""
    packs = {pack for row in view.index.rows for pack in view.index.segment(row.name).packs}
    living = view.index.entries() if marks is None else marks.entries()
    return pack_uses(view.backend, packs - set(view.index.dead_packs), living)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Records in the index that nothing needs, and the bytes of packs that nothing needs: with those of
    records that the index had forgotten before."""

    records: int = 0
    bytes: int = 0


def garbage(view: View, marks: Marks) -> Garbage:
    """What ``marks`` leave out."""
    found = uses(view, marks)
    records = sum(1 for _entry in view.index.entries()) - sum(use.records for use in found.values())
    return Garbage(records, sum(use.garbage_bytes for use in found.values()))


def refuse_damage(view: View) -> None:
    """A damaged id column hides records that are needed: then nothing may be called garbage."""
    for error in view.index.damage():
        raise error
