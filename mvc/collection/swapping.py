"""One swap of root that takes things out of it.

What a root no longer names is condemned in the same swap; it is deleted later, by :mod:`mvc.sweep`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

from mvc.errors import Busy, RootMoved, TakenForGarbage
from mvc.root import Fossil, Retired, Root
from mvc.store import Store
from mvc.transaction import discard_segments
from mvc.view import View

ATTEMPTS = 200


def swap(store: Store, change: Callable[[View], Root | None]) -> bool:
    """Replace root by what ``change`` makes of the state as it is, again where somebody else was faster;
    False where it makes nothing of it.

    Raises:
        Busy: others kept being faster.
    """
    with store.announce("writer") as announcement:
        for attempt in range(ATTEMPTS):
            view = store.read()
            announcement.announce_epoch(view.root.epoch)
            root = change(view)
            if root is None:
                return False
            if attempt:
                _check_own(store, view, root)
            try:
                store.roots.swap(view.raw, root)
            except RootMoved as moved:
                if not moved.perhaps_done:
                    discard_segments(store, view.root, root)
                time.sleep(random.uniform(0, min(0.002 * (attempt + 1), 0.1)))
                continue
            return True
    raise Busy("others keep changing the repository", hint="try again")


def _check_own(store: Store, view: View, root: Root) -> None:
    """Look again for packs that ``root`` is to name first, and that an earlier attempt may have put: another
    collection may have taken them for garbage meanwhile, where nobody is announced.

    Raises:
        TakenForGarbage: it has.
    """
    known = {row.name for row in view.root.segments}
    index = store.index_of(root)
    made = {pack for row in root.segments if row.name not in known for pack in index.segment(row.name).packs}
    before = {pack for row in view.root.segments for pack in view.index.segment(row.name).packs}
    own = made - before
    if not own.isdisjoint(view.index.dead_packs) or store.lost_packs(own):
        raise TakenForGarbage("another collection took for garbage what this had written", hint="try again")


def condemning(root: Root, packs: Iterable[bytes], keys: Iterable[str]) -> Root:
    """Root that condemns these packs, and these segments and pieces, which it no longer names."""
    epoch = root.epoch + 1
    fossils = tuple(Fossil(name, epoch, deleted=False) for name in packs)
    retired = tuple(Retired(key, epoch) for key in keys)
    if not fossils and not retired:
        return root
    return root.with_changes(
        epoch=epoch, fossils=(*root.fossils, *fossils), retired=(*root.retired, *retired)
    )
