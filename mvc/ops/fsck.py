"""Check the store."""

from __future__ import annotations

from mvc.errors import DamageError
from mvc.objectid import CommitId, ObjectId
from mvc.refs import decode_target
from mvc.repo import Repository, View
from mvc.upkeep.check import Checker, Report


def fsck(repository: Repository, *, full: bool = False) -> Report:
    """Check everything that refs, HEAD and the operation log reach; with ``full`` decode and hash all of it.

    Raises:
        DamageError: root itself cannot be read.
    """
    monitor = repository.monitor
    with repository.reading() as view:
        monitor.start("fsck", None)
        targets, damage = _targets(view)
        checker = Checker(view.backend, view.index, view.objects, targets, monitor.advance)
        report = checker.full() if full else checker.quick()
        monitor.finish()
    for what, how in damage:
        report.add(what, how)
    for text in monitor.damage:
        report.add("record", text)
    return report


def _targets(view: View) -> tuple[dict[ObjectId, str], list[tuple[str, str]]]:
    """What must be there, each with the first name that needs it; and damage of the lists themselves."""
    targets: dict[ObjectId, str] = {}
    damage: list[tuple[str, str]] = []
    try:
        for name, value in view.refs.values():
            targets.setdefault(decode_target(value), name)
    except DamageError as error:
        damage.append(("refs", error.message))
    if isinstance(view.root.head, CommitId):
        targets.setdefault(view.root.head, "HEAD")
    try:
        for operation in view.operations():
            needed_by = f"operation {operation.id.short}"
            for change in operation.changes:
                for state in (change.before, change.after):
                    if isinstance(state, bytes):
                        target = CommitId(state) if len(state) == 32 else decode_target(state)
                        targets.setdefault(target, f"{needed_by} ({change.name})")
            # what a forced checkout overwrote is in no version, and undo needs it
            for tree in operation.worktree or ():
                targets.setdefault(tree, needed_by)
    except DamageError as error:
        damage.append(("operation log", error.message))
    return targets, damage
