"""What a repository has of a source already, as its versions tell (docs/format.md, *Commit*)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mvc.errors import CorruptObject, ObjectPurged
from mvc.history.ancestry import is_ancestor
from mvc.objectid import CommitId
from mvc.refs import BRANCHES, peeled_target
from mvc.view import View

UNDER_WAY = "refs/worktree/import/"
"""Refs to versions of an import that is not finished: of a line under its branch's name, else under the
versions' names."""

_KEY = "imported"


@dataclass(frozen=True, slots=True)
class Known:
    """A version that was imported: its id, and the stamp that it had then."""

    id: CommitId
    stamp: bytes | None


def imported_value(kind: str, name: str, stamp: bytes | None) -> dict[str, Any]:
    """What a commit records of where it was imported from, as its optional parts."""
    value: dict[str, Any] = {"from": kind, "name": name}
    if stamp is not None:
        value["stamp"] = stamp
    return {_KEY: value}


def ground_of_line(view: View, branch: str) -> CommitId | None:
    """The version that new ones of a line are to follow: where an interrupted import came to, unless the
    branch has gone another way since; else the branch's own."""
    tip = view.refs.get(BRANCHES + branch)
    reached = view.refs.get(UNDER_WAY + branch)
    if not isinstance(tip, CommitId):
        return reached if isinstance(reached, CommitId) else None
    if isinstance(reached, CommitId) and is_ancestor(view.objects, tip, reached):
        return reached
    return tip


def everywhere(view: View) -> list[CommitId]:
    """What all refs mean."""
    found = (peeled_target(value) for _name, value in view.refs.values())
    return [commit for commit in found if commit is not None]


def known_versions(view: View, kinds: Iterable[str], tips: Iterable[CommitId]) -> dict[str, Known]:
    """The versions of such sources that some commits lead to, by what the sources call them; of several of
    one name that which is met first, walking back.

    Raises:
        DamageError: history cannot be read.
    """
    wanted = set(kinds)
    found: dict[str, Known] = {}
    waiting = list(tips)[::-1]
    seen = set(waiting)
    while waiting:
        identity = waiting.pop()
        try:
            commit = view.commit(identity)
        except ObjectPurged:
            continue  # what lies behind it is not history any more
        row = commit.extra.get(_KEY)
        if row is not None:
            kind, name, stamp = _parsed(row, identity)
            if kind in wanted:
                found.setdefault(name, Known(identity, stamp))
        for parent in reversed(commit.parents):
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return found


def _parsed(row: Any, identity: CommitId) -> tuple[str, str, bytes | None]:
    if isinstance(row, dict):
        kind, name, stamp = row.get("from"), row.get("name"), row.get("stamp")
        if isinstance(kind, str) and isinstance(name, str) and (stamp is None or isinstance(stamp, bytes)):
            return kind, name, stamp
    raise CorruptObject(f"commit {identity.short}: what it was imported from is not understood")
