"""The index forgets what nothing needs, and becomes one run."""

from __future__ import annotations

from collections.abc import Iterable

from mvc.collection.discarding import Discarding
from mvc.collection.needs import Garbage, garbage, needed, refuse_damage, uses
from mvc.collection.swapping import condemning, swap
from mvc.errors import RootMoved
from mvc.odb.index import Keep, merge, plan_full_merge
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.root import Root
from mvc.store import Store
from mvc.upkeep.mark import Marks
from mvc.upkeep.usage import unused
from mvc.view import View, segment_key


def drop_garbage(store: Store, discarding: Discarding | None = None) -> Garbage:
    """Take all that nothing reaches out of the index, in one step, and condemn packs of nothing else. What
    goes is put into the trash before, if there is one."""
    kept = discarding is None
    marks: Marks | None = None
    writer: ObjectWriter | None = None
    found = Garbage()

    def change(view: View) -> Root | None:
        nonlocal kept, marks, writer, found
        refuse_damage(view)
        marks = needed(store, view, earlier=marks)
        found = garbage(view, marks)
        if discarding is not None and not kept:
            # after a lost race nothing more goes than was seen now: all that is new counts as needed
            discarding.objects(view, marks)
            kept = True
        writer = writer or ObjectWriter(view.objects, store.monitor)
        for identity in sorted(marks.again):
            writer.add(writer.prepare(identity, view.objects.get(identity)))
        entries = writer.flush()
        one_run = len({row.run for row in view.index.rows}) <= 1
        if one_run and not entries and not found.records and not _mentions_fossils(view):
            return None
        return merged(store, view, entries, unused(uses(view, marks)), marks.rows)

    swap(store, change)
    return found


def merge_index(store: Store) -> None:
    """Make one run of the index, without what lies in condemned packs."""

    def change(view: View) -> Root | None:
        one_run = len({row.run for row in view.index.rows}) <= 1
        return None if one_run and not _mentions_fossils(view) else merged(store, view, [], (), {})

    swap(store, change)


def merged(store: Store, view: View, entries: list[Entry], condemned: Iterable[bytes], keep: Keep) -> Root:
    """Root with one run: what ``keep`` leaves of the index, and new entries."""

    def put(name: bytes, data: bytes) -> None:
        store.backend.put(segment_key(name), [data])

    rows = view.root.segments
    after = merge(plan_full_merge(rows), entries, view.index, put, keep=keep).apply(rows)
    if after is None:
        raise RootMoved("the index changed while it was merged")
    kept = {row.name for row in after}
    gone = [segment_key(row.name) for row in rows if row.name not in kept]
    return condemning(view.root.with_changes(segments=after), condemned, gone)


def _mentions_fossils(view: View) -> bool:
    dead = set(view.index.dead_packs)
    return any(not dead.isdisjoint(view.index.segment(row.name).packs) for row in view.index.rows)
