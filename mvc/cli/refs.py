"""How refs moved, and how branches stand to what they follow, as JSON and as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mvc.cli.call import Call
from mvc.cli.tables import Column, Table
from mvc.history.refnames import short_ref_name
from mvc.objectid import ObjectId
from mvc.refs import NOTES, TAGS
from mvc.sharing.following import Standing
from mvc.sharing.tracking import RefUpdate
from mvc.text import count, one_line, size

if TYPE_CHECKING:
    from mvc.sharing.fetching import Fetched

REFUSED = 4
"""Exit code where a ref was not moved."""

UPDATES = (
    "updates (ref, source: the ref whose value it took, or null; before, after: ids or null; kind: new, "
    "fast-forward, forced, deleted or rejected; why)"
)


def update_json(update: RefUpdate) -> dict[str, Any]:
    """How a ref moved."""
    return {
        "ref": update.name,
        "source": update.source,
        "before": _hex(update.before),
        "after": _hex(update.after),
        "kind": update.kind,
        "why": update.why,
    }


def _hex(identity: ObjectId | None) -> str | None:
    return None if identity is None else identity.hex()


def print_updates(call: Call, updates: Sequence[RefUpdate]) -> None:
    """A line for each ref, as Git has them; of one that was rewound also how to get back."""
    table = Table([Column(), Column(), Column(cut="middle"), Column(cut="end")], indent=" ")
    for update in updates:
        colour = {"rejected": "red", "forced": "yellow"}.get(update.kind, "")
        table.add(_MARKS[update.kind], _moved(update), _names(update), _why(update), colour=colour)
    if not call.quiet:
        call.table(table)


_MARKS = {"new": "*", "fast-forward": "", "forced": "+", "deleted": "-", "rejected": "!"}


def _moved(update: RefUpdate) -> str:
    before, after = update.before, update.after
    if update.kind == "rejected":
        return "[rejected]"
    if after is None:
        return "[deleted]"
    if before is None:
        word = "tag" if update.name.startswith(TAGS) else "notes" if update.name == NOTES else "branch"
        return f"[new {word}]"
    return f"{before.short}{'...' if update.kind == 'forced' else '..'}{after.short}"


def _names(update: RefUpdate) -> str:
    target = one_line(update.shown)
    if update.source is None or short_ref_name(update.source) == update.shown:
        return target
    return f"{one_line(short_ref_name(update.source))} -> {target}"


def _why(update: RefUpdate) -> str:
    if update.kind == "forced" and update.before is not None:
        return f"(forced update: it was at {update.before.hex()})"
    if update.kind == "deleted" and update.before is not None:
        return f"(it was at {update.before.hex()})"
    return f"({one_line(update.why)})" if update.why else ""


def standing_json(found: Standing | None) -> dict[str, Any] | None:
    """What a branch follows, and how far the two are apart."""
    if found is None:
        return None
    return {
        "name": found.upstream.shown,
        "commit": _hex(found.target),
        "ahead": found.ahead,
        "behind": found.behind,
    }


def standing_text(found: Standing) -> str:
    """The same in words: ``ahead 2, behind 1``; empty where the two are equal."""
    if found.target is None:
        return "not there"
    words = [f"ahead {found.ahead:,}"] if found.ahead else []
    words += [f"behind {found.behind:,}"] if found.behind else []
    return ", ".join(words)


def standing_lines(found: Standing | None) -> list[str]:
    """A line for ``mvc status``; none where there is nothing to follow."""
    if found is None:
        return []
    name = one_line(found.upstream.shown)
    if found.target is None:
        return [f"follows {name}, which is not there"]
    told = standing_text(found)
    return [f"{told} of {name}" if told else f"up to date with {name}"]


def fetched_json(done: Fetched) -> dict[str, Any]:
    """What a fetch brought."""
    return {
        "remote": done.remote.name,
        "url": done.remote.address,
        "updates": [update_json(update) for update in done.updates],
        "commits": done.commits,
        "objects": done.objects,
        "bytes": done.bytes,
        "dry_run": done.dry_run,
    }


def print_fetched(call: Call, done: Fetched) -> None:
    """A line for what came, and one for each ref; nothing where nothing did."""
    name = one_line(done.remote.shown)
    if done.objects:
        what = f"{count(done.commits, 'version')}, {size(done.bytes)}"
        call.report(f"{'would come' if done.dry_run else 'came'} from {name}: {what}")
    elif done.updates:
        call.report(f"from {name}:")
    print_updates(call, done.updates)


def refused(updates: Iterable[RefUpdate]) -> int | None:
    """The exit code where a ref stayed that somebody named; tags that came along are only told of."""
    named = (update for update in updates if not update.name.startswith(TAGS))
    return REFUSED if any(update.kind == "rejected" for update in named) else None
