"""Join small packs, by the protocol of intents, fossils and epoch (docs/format.md)."""

from __future__ import annotations

from mvc.collection.swapping import condemning
from mvc.errors import RootMoved
from mvc.odb.pack import pack_key
from mvc.repo import Repository
from mvc.sweep import sweep
from mvc.transaction import add_entries, discard_segments
from mvc.upkeep.consolidate import copy_packs, small_packs


def consolidate(repository: Repository) -> int:
    """Join small packs when there are many; returns how many packs were condemned.

    Not finding the time because others keep committing is no failure: a later commit does it.
    """
    with repository.announce("writer") as announcement:
        view = repository.read()
        announcement.announce_epoch(view.root.epoch)
        names = small_packs(repository.backend, view.index)
        if not names:
            return 0
        for error in view.index.damage():
            # a damaged id column hides records that are needed: then nothing may be called superfluous
            repository.monitor.note_damage(
                f"{error.message}; small packs are not joined until it is repaired"
            )
            return 0
        entries, condemned = copy_packs(repository.backend, view.index, names, repository.monitor)
        if not condemned:
            return 0
        root = condemning(add_entries(repository, view, entries), condemned, ())
        root = sweep(repository, view.root, root)
        try:
            repository.roots.swap(view.raw, root)
        except RootMoved:
            discard_segments(repository, view.root, root)
            for name in {entry.pack for entry in entries}:
                repository.backend.delete(pack_key(name))
            return 0
        return len(condemned)
