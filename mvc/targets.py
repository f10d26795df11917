"""What must be there: the objects that refs, HEAD and the operation log name, with who needs them."""

from __future__ import annotations

from collections.abc import Iterator

from mvc.errors import DamageError
from mvc.history.refnames import short_ref_name
from mvc.objectid import CommitId, ObjectId
from mvc.refs import decode_target, peeled_target
from mvc.upkeep.touched import Start
from mvc.view import View


def targets(view: View) -> tuple[dict[ObjectId, str], list[tuple[str, str]]]:
    """What must be there, each with the first name that needs it; and damage of the lists themselves."""
    found: dict[ObjectId, str] = {}
    damage: list[tuple[str, str]] = []
    try:
        for target, name in _named(view):
            found.setdefault(target, name)
    except DamageError as error:
        damage.append(("refs", error.message))
    if isinstance(view.root.head, CommitId):
        found.setdefault(view.root.head, "HEAD")
    try:
        for target, operation, name in _logged(view):
            found.setdefault(target, f"operation {operation} ({name})" if name else f"operation {operation}")
    except DamageError as error:
        damage.append(("operation log", error.message))
    return found, damage


def starts(view: View) -> dict[ObjectId, Start]:
    """The same, each with all refs and the newest operation that need it, as far as they can be read."""
    refs: dict[ObjectId, list[str]] = {}
    operations: dict[ObjectId, str] = {}
    try:
        for target, name in _named(view):
            refs.setdefault(target, []).append(short_ref_name(name))
    except DamageError:
        pass  # told by :func:`targets`
    if isinstance(view.root.head, CommitId):
        refs.setdefault(view.root.head, []).append("HEAD")
    try:
        for target, operation, _name in _logged(view):
            operations.setdefault(target, operation)
    except DamageError:
        pass
    return {
        target: Start(tuple(refs.get(target, ())), operations.get(target, ""))
        for target in dict.fromkeys((*refs, *operations))
    }


def _named(view: View) -> Iterator[tuple[ObjectId, str]]:
    """What refs point to; of a tag also the version that it means, which does not go with the tag."""
    for name, value in view.refs.values():
        target, peeled = decode_target(value), peeled_target(value)
        yield target, name
        if peeled is not None and peeled != target:
            yield peeled, name


def _logged(view: View) -> Iterator[tuple[ObjectId, str, str]]:
    """What the operation log needs, newest first: the object, the operation, and the name that it moved."""
    for operation in view.operations():
        for change in operation.changes:
            for state in (change.before, change.after):
                if isinstance(state, bytes):
                    target = CommitId(state) if len(state) == 32 else decode_target(state)
                    yield target, operation.id.short, change.name
                    peeled = None if len(state) == 32 else peeled_target(state)
                    if peeled is not None and peeled != target:
                        yield peeled, operation.id.short, change.name
        # what a forced checkout overwrote is in no version, and undo needs it
        for tree in operation.worktree or ():
            yield tree, operation.id.short, ""
