"""An operation as JSON; for the commands that show some."""

from __future__ import annotations

from typing import Any

from mvc.cli.text import iso
from mvc.cli.versions import person_json
from mvc.oplog import HeadValue, Operation
from mvc.refs import decode_target


def operation_json(operation: Operation) -> dict[str, Any]:
    """What a command did."""
    return {
        "id": operation.id.hex(),
        "command": operation.command,
        "who": person_json(operation.who),
        "time": iso(operation.time),
        "undoes": None if operation.undoes is None else operation.undoes.hex(),
        "worktree": operation.worktree is not None,
        "changes": [
            {"ref": change.name, "before": _value(change.before), "after": _value(change.after)}
            for change in operation.changes
        ],
    }


def _value(value: HeadValue) -> str | None:
    """A ref's value as the id in it; HEAD's may be a branch's full name."""
    if isinstance(value, bytes):
        return value.hex() if len(value) == 32 else decode_target(value).hex()
    return value
