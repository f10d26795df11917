"""What a merge did, as JSON and as lines of text; for the commands that make one."""

from __future__ import annotations

from typing import Any

from mvc.cli.call import Call
from mvc.cli.conflicts import DATA, conflict_json, conflict_lines, in_conflict
from mvc.text import count, one_line
from mvc.underway.merging import MergeResult

CONFLICT = 4
"""Exit code where files are in conflict."""

MERGED = (
    "kind (up-to-date, fast-forward, merged, prepared: without conflicts, to be concluded; "
    "conflicts), commit (where HEAD is; null in a dry run that would make a version), branch, theirs, bases, "
    f"changes (path, kind: from HEAD to the result), written, removed (counts of files), dry_run, and {DATA}"
)


def merge_result_json(done: MergeResult, *, dry_run: bool) -> dict[str, Any]:
    """What was done."""
    changes = [{"path": change.path, "kind": change.kind} for change in done.changes]
    return {
        "kind": done.kind,
        "commit": None if done.commit is None else done.commit.hex(),
        "branch": done.branch,
        "theirs": done.theirs.hex(),
        "bases": [base.hex() for base in done.bases],
        "changes": changes,
        "written": done.written,
        "removed": done.removed,
        "dry_run": dry_run,
        "conflicts": [conflict_json(conflict) for conflict in done.conflicts],
    }


def report_merge(call: Call, done: MergeResult, *, dry_run: bool) -> int | None:
    """Say what was done, or would be; gives the exit code.

    Raises:
        ConflictError: files are in conflict.
    """
    files = f"{count(len(done.changes), 'file')} changed"
    if done.conflicts and dry_run:
        for line in conflict_lines(call, done.conflicts):
            call.print(line)
        call.report(f"{count(len(done.conflicts), 'file')} would be in conflict; {files}")
        return CONFLICT
    if done.conflicts:
        raise in_conflict(call, "merge", done.conflicts)
    if done.kind == "up-to-date":
        call.report("already up to date")
    elif dry_run:
        call.report(f"would be {_WOULD[done.kind]}; {files}")
    elif done.kind == "prepared":
        call.report(f"merged, not committed; {files}. 'mvc merge --continue' concludes it")
    elif done.kind == "fast-forward":
        call.report(f"fast-forward to {done.theirs.short}; {files}")
    elif done.commit is not None:
        with call.repository.reading() as view:
            subject = one_line(view.commit(done.commit).subject)
        where = one_line(done.branch) if done.branch else "detached HEAD"
        call.report(f"[{where} {done.commit.short}] {subject}")
        call.report(files)
    return None


_WOULD = {
    "fast-forward": "a fast-forward",
    "merged": "a merge without conflicts",
    "prepared": "a merge without conflicts",
}
