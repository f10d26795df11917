"""Check the store."""

from __future__ import annotations

from mvc.store import Store
from mvc.targets import starts, targets
from mvc.upkeep.check import Checker, Report
from mvc.upkeep.damaged import damaged_objects
from mvc.upkeep.sample import Wish


def fsck(store: Store, *, full: bool = False, sample: Wish | None = None) -> Report:
    """Check everything that refs, HEAD and the operation log reach; with ``full`` decode and hash all of it,
    with ``sample`` a random share of the records.

    Where something is damaged, the report tells what each damaged object touches.

    Raises:
        DamageError: root itself cannot be read.
    """
    monitor = store.monitor
    with store.reading() as view:
        monitor.start("fsck", None)
        wanted, damage = targets(view)
        checker = Checker(view.backend, view.index, view.objects, wanted, monitor.advance)
        if full:
            report = checker.full()
        elif sample is not None:
            report = checker.sampled(sample)
        else:
            report = checker.quick()
        noted = list(monitor.damage)
        if report.damage:
            report.damaged, explained = damaged_objects(
                checker.objects, checker.unsound, starts(view), checker.incomplete
            )
            report.explained = {identity.hex() for identity in explained}
        monitor.finish()
    for what, how in damage:
        report.add(what, how)
    for text in noted:
        report.add("record", text)
    return report
