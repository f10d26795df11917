"""Refs that two stores share: what a refspec names, and how each ref moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mvc.errors import InvalidName, UsageError
from mvc.history.ancestry import is_ancestor
from mvc.history.refnames import check_ref_name, short_ref_name
from mvc.objectid import CommitId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.refs import BRANCHES, TAGS, decode_target
from mvc.view import View

PRIVATE = ("refs/worktree/", "refs/bisect/", "refs/remotes/")
"""What is one store's own and never travels: what is under way there, and what it follows."""

NOTES_OF = "refs/worktree/notes/"
"""Where a store keeps the notes of its remotes as it last saw them, by the remote's name: what was added and
removed on either side since then can be told apart."""

Kind = Literal["new", "fast-forward", "forced", "deleted", "rejected"]


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """What became of a ref, here (by a fetch) or at a remote (by a push).

    ``name`` is the full name of the ref that moved, ``source`` that of the one whose value it took, None for
    a deletion, and for a version that no ref names. ``rejected``: it stayed, and ``why`` says so.
    """

    name: str
    source: str | None
    before: ObjectId | None
    after: ObjectId | None
    kind: Kind
    why: str = ""

    @property
    def shown(self) -> str:
        """The short name."""
        return short_ref_name(self.name)


class Refspec(NamedTuple):
    """``[+]SOURCE[:TARGET]``: a ref (or revision) and the one that takes its value. ``source`` is empty for a
    deletion, ``target`` None where only one name was given."""

    source: str
    target: str | None
    force: bool


def parse_refspec(text: str) -> Refspec:
    """A refspec as it is typed.

    Raises:
        UsageError: it names nothing, or has a ``*`` on one side only.
    """
    force = text.startswith("+")
    source, colon, target = text.removeprefix("+").partition(":")
    if ":" in target or not (source or target) or (colon and not target and not source):
        raise UsageError(
            f"{text!r} is no refspec", hint="for example main, main:backup, +main or :old-branch"
        )
    if colon and not target:
        raise UsageError(f"{text!r} names no target", hint=f"{source}:NAME")
    if colon and ("*" in source) != ("*" in target):
        raise UsageError(f"{text!r} has a * on one side only", hint="refs/heads/*:refs/remotes/origin/*")
    if source.count("*") > 1 or target.count("*") > 1:
        raise UsageError(f"{text!r} has more than one *")
    return Refspec(source, target or None, force)


def matching(view: View, source: str) -> list[str]:
    """Full names of the refs of a store that a refspec's source names: by its full or short name, or by a
    pattern with one ``*``. HEAD is the store's default branch."""
    if "*" in source:
        before, _, after = source.partition("*")
        full = before if before.startswith("refs/") else BRANCHES + before
        return [
            name
            for name in shared_names(view)
            if name.startswith(full) and name.endswith(after) and len(name) >= len(full) + len(after)
        ]
    if source == "HEAD":
        branch = default_branch(view)
        return [] if branch is None else [BRANCHES + branch]
    prefixes = ("",) if source.startswith("refs/") else (BRANCHES, TAGS, "refs/")
    found = (prefix + source for prefix in prefixes)
    return [name for name in found if not name.startswith(PRIVATE) and view.refs.value(name) is not None][:1]


def wildcard(source: str, target: str, name: str) -> str:
    """The target of one of the refs that a pattern matched."""
    before, _, after = source.partition("*")
    start = before if before.startswith("refs/") else BRANCHES + before
    return target.replace("*", name[len(start) : len(name) - len(after)])


def shared_names(view: View) -> Iterator[str]:
    """The refs of a store that others may see."""
    return (name for name in view.refs.names("refs/") if not name.startswith(PRIVATE))


def full_name(name: str, kind: str = BRANCHES) -> str:
    """A ref's full name, of a branch where ``kind`` does not say something else.

    Raises:
        InvalidName: no ref may have it.
    """
    full = name if name.startswith("refs/") else kind + name
    check_ref_name(full)
    return full


def default_branch(view: View) -> str | None:
    """The branch that a copy of a store begins with: what a shared store says, or the current one of a
    repository, where there is such a branch; else ``main`` or the first one. None without branches."""
    named = view.root.extra.get("default_branch")
    said = named if isinstance(named, str) else view.branch()
    if said is not None and _may_be(BRANCHES + said) and view.refs.value(BRANCHES + said) is not None:
        return said
    names = [name.removeprefix(BRANCHES) for name in view.refs.names(BRANCHES) if _may_be(name)]
    return "main" if "main" in names else next(iter(names), None)


def unborn_branch(view: View) -> str | None:
    """The branch that the first version of an empty store is to be on, if it says so."""
    named = view.root.extra.get("default_branch")
    said = named if isinstance(named, str) else view.branch()
    return said if said is not None and _may_be(BRANCHES + said) else None


def _may_be(name: str) -> bool:
    """Whether a ref of another store has a name that one here could have."""
    try:
        check_ref_name(name)
    except InvalidName:
        return False
    return True


def kind_of_move(objects: ObjectDatabase, before: bytes | None, after: bytes | None) -> Kind:
    """How a ref moves from one value to another one; ``objects`` have the history of the new one."""
    if after is None:
        return "deleted"
    if before is None:
        return "new"
    old, new = decode_target(before), decode_target(after)
    if isinstance(old, CommitId) and isinstance(new, CommitId) and leads_to(objects, old, new):
        return "fast-forward"
    return "forced"


def leads_to(objects: ObjectDatabase, old: CommitId, new: CommitId) -> bool:
    """Whether a version comes after another one; one that is not here came before nothing that is."""
    return old in objects and is_ancestor(objects, old, new)
