"""Conflicts, and what is under way, as JSON and as lines of text; for the commands that show some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mvc.cli.call import Call
from mvc.cli.tables import Column, Table
from mvc.errors import ConflictError
from mvc.history.merge3 import Conflict
from mvc.history.reader import ObjectReader, read_commit
from mvc.objects import TreeEntry
from mvc.text import count, one_line
from mvc.underway.pending import Kind, Pending

if TYPE_CHECKING:
    from mvc.underway.taking_back import TakenBack

FEW = 5
"""Tensors that are named in a line; all of them are in the JSON."""

DATA = (
    "conflicts (path; kind: content, add/add, modify/delete, rename/rename, rename/delete, file/folder or "
    "mode; details: tensors, JSON keys, or why it cannot be merged; ours, theirs: whether that side has the "
    "file)"
)


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """A file in conflict."""
    return {
        "path": conflict.path,
        "kind": conflict.kind,
        "details": list(conflict.details),
        "ours": _has(conflict.ours),
        "theirs": _has(conflict.theirs),
    }


def _has(entry: TreeEntry | None) -> bool:
    return entry is not None


def conflict_lines(call: Call, conflicts: Iterable[Conflict]) -> list[str]:
    """One line for each file: what kind of conflict, and the first few tensors."""
    table = Table([Column(), Column(cut="middle"), Column(cut="end")], indent="  ")
    for conflict in conflicts:
        table.add(conflict.kind, call.shown(conflict.path), _told(conflict), colour="red")
    return table.lines(call.screen)


def _told(conflict: Conflict) -> str:
    if conflict.kind == "modify/delete" and not conflict.details:
        return "ours deleted it" if conflict.ours is None else "theirs deleted it"
    named = ", ".join(map(one_line, conflict.details[:FEW]))
    more = len(conflict.details) - FEW
    return f"{named} and {more:,} more" if more > 0 else named


def in_conflict(call: Call, kind: Kind, conflicts: Sequence[Conflict]) -> ConflictError:
    """Lists files in conflict; gives the failure that says what to do next."""
    for line in conflict_lines(call, conflicts):
        call.print(line)
    return ConflictError(
        f"{count(len(conflicts), 'file')} in conflict",
        hint=f"edit each, or choose with mvc restore --ours|--theirs PATH; then mvc {kind} --continue, which "
        "takes --strategy average (ties, ours, …) or --strategy-for 'PATTERN=ours' for the rest. "
        f"mvc {kind} --abort takes all back",
    )


def tell_taken_back(call: Call, kind: Kind, back: TakenBack, *, json: bool) -> None:
    """Where HEAD is after ``--abort``."""
    commit = back.commit
    if json:
        told = None if commit is None else commit.hex()
        call.data({"commit": told, "written": back.written, "removed": back.removed})
    else:
        call.report(f"the {kind} is taken back" + ("" if commit is None else f"; HEAD is at {commit.short}"))


def pending_json(pending: Pending) -> dict[str, Any]:
    """What is under way."""
    return {
        "kind": pending.kind,
        "ours": pending.ours.hex(),
        "theirs": None if pending.theirs is None else pending.theirs.hex(),
        "message": pending.message,
        "squash": pending.squash,
        "rest": [identity.hex() for identity in pending.rest],
    }


def pending_lines(
    call: Call, reader: ObjectReader, pending: Pending, waiting: Sequence[Conflict]
) -> list[str]:
    """What is under way, what is in conflict still, and how it ends."""
    what = ""
    if pending.theirs is not None:
        subject = read_commit(reader, pending.theirs).subject
        what = f" of {pending.theirs.short} ({one_line(subject)})"
    lines = [f"A {pending.kind}{what} is under way."]
    if pending.rest:
        lines.append(f"{count(len(pending.rest), 'version')} still to come.")
    if waiting:
        lines += ["", "In conflict; edit each, or choose with 'mvc restore --ours|--theirs PATH':"]
        lines += conflict_lines(call, waiting)
        lines += ["", f"Then 'mvc {pending.kind} --continue'; '--abort' takes all back."]
    else:
        lines.append(
            f"Nothing is in conflict: 'mvc {pending.kind} --continue' concludes it, '--abort' takes it back."
        )
    return lines
