"""A collection of a store where nobody can be asked who reads and writes now, in two steps.

The first condemns, and never deletes: what nothing needs, and every file that no root names. A writer to whom
one of those belongs fails at his swap, because another root is there, finds it condemned or gone, and puts it
again. The second step, of a later run, deletes what was condemned so long ago that nobody reads a root from
before, and only then takes it off root's list. Any number of collections, paused or killed anywhere, may run
beside each other and beside writers (docs/design/0030-bucket-gc.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mvc.collection.census import census
from mvc.collection.collect import Collected, Effort
from mvc.collection.grace import free_epoch, noted
from mvc.collection.index import drop_garbage, merge_index
from mvc.collection.leftovers import named
from mvc.collection.log import expire
from mvc.collection.needs import garbage, needed, refuse_damage
from mvc.collection.repacking import repack
from mvc.collection.rewriting import rewrite_packs
from mvc.collection.swapping import condemning, swap
from mvc.odb.pack import pack_key
from mvc.root import Root
from mvc.store import Store
from mvc.sweep import delete_condemned
from mvc.upkeep.expire import kept_count
from mvc.upkeep.usage import MOST_GARBAGE
from mvc.view import View

_STRAYS = re.compile(
    r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})\.pack|segments/[0-9a-f]{64}\.seg|pieces/[0-9a-f]{64}\.piece"
)
_LEAST_GARBAGE = 0.01  # of a pack that is rewritten where everything is stored anew anyway


@dataclass(frozen=True, slots=True)
class Moment:
    """When a collection takes place, and how long readers of an older root are spared: microseconds, the
    first since 1970."""

    time: int
    grace: int


def collect_bucket(store: Store, since: int | None, effort: Effort, moment: Moment) -> Collected:
    """Collect garbage; operations older than ``since`` (microseconds since 1970) leave the log.

    Raises:
        Busy: others kept changing the store, or another collection was faster; try again.
        DamageError: something that is needed is missing or damaged; nothing was thrown away.
        StorageError: the store refuses; what was done by then is whole.
    """
    before = census(store)
    delete(store, moment)
    dropped = expire(store, since)
    found = drop_garbage(store)
    if effort.repack:
        repack(store, best=effort.best, everything=effort.all_refs)
    rewrite_packs(store, _LEAST_GARBAGE if effort.repack else MOST_GARBAGE)
    merge_index(store)
    condemn_strays(store)
    remove_locators(store)
    note(store, moment)
    delete(store, moment)
    return Collected(before, census(store), found, dropped, waiting_bytes(store))


def foresee(store: Store, since: int | None) -> Collected:
    """What a collection of a shared store would find; how it would rewrite packs and index is left out.

    Raises:
        DamageError: something that is needed is missing or damaged.
    """
    before = census(store)
    with store.reading() as view:
        refuse_damage(view)
        kept, total = kept_count(view.root.oplog, view.backend, since)
        found = garbage(view, needed(store, view, since))
    after = replace(before, records=before.records - found.records, bytes=before.bytes - found.bytes)
    return Collected(before, after, found, total - kept, waiting_bytes(store))


def delete(store: Store, moment: Moment) -> None:
    """The second step: delete what was condemned long enough ago, and take it off root's list."""

    def change(view: View) -> Root | None:
        oldest = free_epoch(view.root, moment.time, moment.grace)
        if oldest < 0:
            return None
        root = noted(delete_condemned(store, view.root, view.root, oldest), moment.time)
        return None if root == view.root else root

    swap(store, change)


def condemn_strays(store: Store) -> None:
    """Condemn files that root does not name: what writers left that were killed, and what belongs to writers
    who are on their way to their swap and will put it again.

    The piece that the next operation would make is left: its name follows from what it holds.
    """
    there = [key for place in ("packs/", "segments/", "pieces/") for key, _size in store.backend.list(place)]

    def change(view: View) -> Root | None:
        known = named(view)
        strays = [match for key in there if key not in known and (match := _STRAYS.fullmatch(key))]
        packs = [bytes.fromhex(match[2]) for match in strays if match[2]]
        root = condemning(view.root, packs, [match[0] for match in strays if not match[2]])
        return None if root is view.root else root

    swap(store, change)


def note(store: Store, moment: Moment) -> None:
    """Note the time, from which on the grace of what is condemned by now counts."""

    def change(view: View) -> Root | None:
        root = noted(view.root, moment.time)
        return None if root == view.root else root

    swap(store, change)


def remove_locators(store: Store) -> None:
    """Remove locators where the index is one run, of which every version needs nearly all segments."""
    view = store.read()
    if len({row.run for row in view.index.rows}) <= 1:
        for key, _size in list(store.backend.list("locators/")):
            store.backend.delete(key)


def waiting_bytes(store: Store) -> int:
    """Bytes of packs that are condemned and still there."""
    view = store.read()
    sizes = dict(store.backend.list("packs/"))
    return sum(sizes.get(pack_key(name), 0) for name in view.index.dead_packs)
