"""Where HEAD and the files are after ``checkout`` or ``switch``, as JSON and as lines of text."""

from __future__ import annotations

from typing import Any

from mvc.cli.call import Call
from mvc.heading import CheckedOut
from mvc.text import count, one_line


def arrival_json(done: CheckedOut) -> dict[str, Any]:
    """What was done."""
    commit = None if done.commit is None else done.commit.hex()
    return {"commit": commit, "branch": done.branch, "written": done.written, "removed": done.removed}


def report_arrival(call: Call, done: CheckedOut, *, switched: bool) -> None:
    """Say where HEAD is, if it was ``switched``, and how many files were written and removed."""
    if switched:
        if done.branch is not None:
            call.report(f"on branch {one_line(done.branch)}")
        elif done.commit is not None:
            with call.repository.reading() as view:
                subject = view.commit(done.commit).subject
            call.report(f"HEAD is now at {done.commit.short} {one_line(subject)}, on no branch")
    call.report(f"{count(done.written, 'file')} written, {done.removed:,} removed")
