"""``mvc bisect tensors``."""

from __future__ import annotations

from typing import Any

from mvc.cli.bisect_shown import ADJECTIVES, tester
from mvc.cli.call import Call
from mvc.errors import UsageError, UserError
from mvc.ops.bisect_tensors import Found, Tried, bisect_tensors
from mvc.text import count, one_line


def tensors(
    call: Call, rest: tuple[str, ...], file: tuple[str, ...], folder: str | None, *, json: bool
) -> None:
    """Print the sets of tensors that make a version bad."""
    program = call.paths or ()
    if len(rest) != 2 or not program:
        raise UsageError(
            "a good version, a bad one and a command are needed",
            hint="mvc bisect tensors v1.0 main -- python eval.py",
        )
    place = None if folder is None else call.context.cwd / folder
    if place is not None and (place == call.repository.worktree or call.repository.store in place.parents):
        raise UserError("--dir cannot be the work tree or its store", hint="name a folder that is empty")
    test = tester(call, program, place or call.repository.worktree, json=json)

    def told(tried: Tried, differing: int) -> None:
        if not json:
            call.report(
                f"{tried.commit.short} with {tried.tensors:,} of {differing:,} tensors is "
                f"{ADJECTIVES[tried.word]}"
            )

    try:
        found = bisect_tensors(
            call.repository,
            call.revision(rest[0]),
            call.revision(rest[1]),
            test,
            told,
            call.who(),
            call.now,
            paths=call.inside(file),
            folder=place,
        )
    except KeyboardInterrupt:
        call.hint("the work tree is what it was; what was tested is listed by 'mvc oplog'")
        raise
    if json:
        call.data(_json(found))
        return
    for found_set in found.sets:
        several = len(found_set.tensors) > 1
        what = f"these {len(found_set.tensors)} tensors together make" if several else "this tensor makes"
        call.print(f"{what} it bad, as in {found_set.commit.short}:")
        for one in found_set.tensors:
            call.print(f"  {call.shown(one.path)}#{' = '.join(map(one_line, one.names))}")
    words = {"good": "it is good", "bad": "it is bad", "skip": "nobody can tell"}
    call.report(f"without them {words[found.rest]} ({count(len(found.tried), 'test')})")


def _json(found: Found) -> dict[str, Any]:
    return {
        "sets": [
            {
                "tensors": [{"path": one.path, "names": list(one.names)} for one in found_set.tensors],
                "commit": found_set.commit.hex(),
            }
            for found_set in found.sets
        ],
        "rest": found.rest,
        "differing": found.differing,
        "apart": list(found.apart),
        "tests": [
            {
                "commit": tried.commit.hex(),
                "tensors": tried.tensors,
                "answer": tried.word,
                "stored_bytes": tried.stored_bytes,
            }
            for tried in found.tried
        ],
    }
