"""From a name or an id, as people type it, to an object: ``HEAD``, ``tags/v1``, ``1a2b3c``, ``main@{2}``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from mvc.errors import AmbiguousRevision, ObjectMissing, RevisionNotFound
from mvc.history.reader import ObjectReader, read_object, read_tag
from mvc.history.refnames import short_ref_name
from mvc.objectid import AliasId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry

Kinds = tuple[type[ObjectId], ...]

COMMITTISH: Kinds = (CommitId, TagId, AliasId)
TREEISH: Kinds = (*COMMITTISH, TreeId)
NAMEABLE: Kinds = (*TREEISH, ManifestId)

STATE_REFS = ("refs/worktree/", "refs/bisect/", "refs/notes/")
"""Where mvc keeps what is under way, bisections and notes: found by their names, but offered to nobody."""
_BRANCHES = "refs/heads/"
_PREFIXES = ("", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/")
"""Git's order of precedence."""

_HEX = re.compile(r"[0-9a-fA-F]{4,64}")
_EARLIER = re.compile(r"@\{([0-9]{1,9})\}")
_UPSTREAM = ("@{u}", "@{upstream}")
_MOST_LISTED = 8
_MOST_OFFERED = 6


class Refs(Protocol):
    """The names of a repository, read-only."""

    @property
    def head(self) -> str | CommitId | None:
        """The current branch's full name; a commit when detached; None where there is no work tree."""
        ...

    def get(self, name: str, /) -> ObjectId | None:
        """The value of a ref by its full name: a commit, a tag or an alias entry."""
        ...

    def names(self, prefix: str, /) -> Iterable[str]:
        """Full names of the refs that start so."""
        ...

    def previous(self, name: str, n: int, /) -> ObjectId | None:
        """The ``n``-th earlier value of a ref, 1 being the one before the present; None if there were fewer.

        ``HEAD`` counts every change of the current commit: moves of the current branch and switches.
        """
        ...

    def upstream(self, branch: str, /) -> str | None:
        """The full name of the ref that stands for what a branch, by its short name, follows; None where it
        follows nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a revision names.

    ``object`` is the id that the whole text names, as ``git rev-parse`` would print it: a tag before it is
    peeled, a folder's tree, a file's manifest. ``commit`` is the version it belongs to; None when a tree or a
    manifest was named by its id. ``path`` is the place in that version, empty for the root folder, None when
    no tree was asked for. ``tag`` is the annotated tag and ``ref`` the full name (or ``HEAD``) that stand
    before any path; None when a suffix such as ``~1`` leads away from them. ``shadowed`` are the full names
    that the text could mean too: Git warns of them, and so should a caller.
    """

    object: ObjectId
    commit: CommitId | None
    tag: TagId | None = None
    path: str | None = None
    tensor: str | None = None
    ref: str | None = None
    shadowed: tuple[str, ...] = ()


def peel(identity: ObjectId, reader: ObjectReader) -> ObjectId:
    """From a tag or an alias entry to its commit; anything else stays as it is."""
    if isinstance(identity, TagId):
        return read_tag(reader, identity).target
    if isinstance(identity, AliasId):
        return read_object(reader, AliasEntry, identity).target
    return identity


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that offers the names most like a mistyped one; empty when none is."""
    from difflib import get_close_matches  # here: 5 ms that only a mistyped name should cost

    near = get_close_matches(name, sorted(set(names)), n=3)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def offer(name: str, names: Iterable[str]) -> str:
    """A hint that offers the names most like a mistyped one, or else the first of those that there are; empty
    where there are none."""
    known = sorted(set(names))
    listed = ", ".join(map(repr, known[:_MOST_OFFERED]))
    more = f" and {len(known) - _MOST_OFFERED} more" if len(known) > _MOST_OFFERED else ""
    return nearest(name, known) or (f"there is {listed}{more}" if known else "")


def find_named(name: str, reader: ObjectReader, refs: Refs, wanted: Kinds) -> Resolved:
    """Resolve a name or an id, perhaps with ``@{n}``.

    Of several objects that a short id fits, those of a ``wanted`` kind count.

    Raises:
        RevisionNotFound: nothing has that name; the hint offers the nearest ones.
        AmbiguousRevision: a short id fits several objects.
    """
    at = name.find("@{")
    if at >= 0:
        return _find_earlier(name[:at], name[at:], reader, refs)
    # As in Git, a full id goes before a ref of that name, and a ref before a short id.
    if len(name) == 64 and _HEX.fullmatch(name):
        return _find_by_id(name, reader, refs, wanted)
    matches = _matching_refs(name, refs)
    if matches:
        (ref, value), *others = matches
        return _found(value, reader, ref, others)
    if _HEX.fullmatch(name):
        return _find_by_id(name, reader, refs, wanted)
    raise _not_found(name, refs)


def _found(
    value: ObjectId, reader: ObjectReader, ref: str | None = None, others: Iterable[tuple[str, ObjectId]] = ()
) -> Resolved:
    peeled = peel(value, reader)
    return Resolved(
        object=value,
        commit=peeled if isinstance(peeled, CommitId) else None,
        tag=value if isinstance(value, TagId) else None,
        path="" if isinstance(value, TreeId) else None,
        ref=ref,
        shadowed=tuple(name for name, _ in others),
    )


def _matching_refs(name: str, refs: Refs) -> list[tuple[str, ObjectId]]:
    """Refs that a name may mean, with their values, in order of precedence."""
    if name in ("HEAD", "@"):
        return [("HEAD", _head(refs))]
    matches = []
    for prefix in _PREFIXES:
        full = prefix + name
        value = refs.get(full) if full.startswith("refs/") else None
        if value is not None:
            matches.append((full, value))
    return matches


def _head(refs: Refs) -> ObjectId:
    head = refs.head
    if head is None:
        raise RevisionNotFound("there is no HEAD here", hint="name a branch, a tag or a commit")
    if not isinstance(head, str):
        return head
    value = refs.get(head)
    if value is None:
        raise _no_commits_yet(head)
    return value


def _find_earlier(name: str, at: str, reader: ObjectReader, refs: Refs) -> Resolved:
    """Resolve ``NAME@{n}`` and ``NAME@{upstream}``; without a name, the current branch is meant."""
    if at.lower() in _UPSTREAM:
        return _find_upstream(name, reader, refs)
    match = _EARLIER.fullmatch(at)
    if match is None:
        raise RevisionNotFound(
            f"{at!r} means nothing here", hint="NAME@{2} is the value that NAME had two changes ago"
        )
    if not name:
        name = refs.head if isinstance(refs.head, str) else "HEAD"
    matches = _matching_refs(name, refs)
    if not matches:
        raise _not_found(name, refs)
    (ref, present), *others = matches
    number = int(match[1])
    value = refs.previous(ref, number) if number else present
    if value is None:
        raise RevisionNotFound(
            f"{short_ref_name(ref)} has no value from {number} changes ago",
            hint="mvc oplog lists its changes",
        )
    return _found(value, reader, None, others)


def _find_upstream(name: str, reader: ObjectReader, refs: Refs) -> Resolved:
    """Resolve what a branch follows."""
    full = (refs.head or "") if name in ("", "HEAD", "@") else name
    branch = full.removeprefix(_BRANCHES) if isinstance(full, str) else ""
    if not branch:
        raise RevisionNotFound(
            "HEAD is detached, so it follows nothing", hint="name a branch: main@{upstream}"
        )
    ref = refs.upstream(branch)
    if ref is None:
        raise RevisionNotFound(
            f"{branch!r} follows no branch of a remote", hint="mvc branch --set-upstream-to REMOTE/BRANCH"
        )
    value = refs.get(ref)
    if value is None:
        raise RevisionNotFound(
            f"{short_ref_name(ref)}, which {branch!r} follows, is not here",
            hint="mvc fetch brings what there is",
        )
    return _found(value, reader, ref)


def _find_by_id(digits: str, reader: ObjectReader, refs: Refs, wanted: Kinds) -> Resolved:
    known = [found for found in reader.find_prefix(digits.lower()) if isinstance(found, NAMEABLE)]
    fitting = [found for found in known if isinstance(found, wanted)]
    if not fitting:
        # What does not fit is kept when nothing does: "is a tree, not a commit" says more than "not found".
        # Only the record knows of what kind it is: the index may be damaged there.
        for found in known:
            reader.get(found)
        fitting = known
    if not fitting:
        _refuse_hidden(digits, reader)
        raise _not_found(digits, refs)
    if len(fitting) > 1:
        raise _ambiguous(digits, fitting)
    return _found(fitting[0], reader)


def _refuse_hidden(digits: str, reader: ObjectReader) -> None:
    """Damage of the index hides ids, and then nobody may say that there is none of this name: the reader
    knows, when it is asked for an object that is not there."""
    with suppress(ObjectMissing):
        reader.get(CommitId(bytes.fromhex(digits.ljust(64, "0"))))


def _ambiguous(digits: str, fitting: list[ObjectId]) -> AmbiguousRevision:
    shown = max(12, len(digits) + 4)
    fitting.sort(key=lambda found: (-found.kind, found))  # commits and tags before trees and manifests
    names = [f"{found.word} {found.hex()[:shown]}" for found in fitting[:_MOST_LISTED]]
    if len(fitting) > _MOST_LISTED:
        names.append(f"{len(fitting) - _MOST_LISTED} more")
    return AmbiguousRevision(
        f"{digits} is the start of {len(fitting)} ids: {', '.join(names)}", hint="type more digits"
    )


def _no_commits_yet(branch: str) -> RevisionNotFound:
    return RevisionNotFound(
        f"no commits yet on {short_ref_name(branch)}", hint="make the first one with a commit"
    )


def _not_found(name: str, refs: Refs) -> RevisionNotFound:
    if isinstance(refs.head, str) and name in (refs.head, short_ref_name(refs.head)):
        return _no_commits_yet(refs.head)
    if not name:
        return RevisionNotFound("a name is missing", hint="name a branch, a tag or a commit")
    names = [short_ref_name(full) for full in refs.names("refs/") if not full.startswith(STATE_REFS)]
    hint = nearest(name, ["HEAD", *names]) or offer(name, names) or "there are no branches and tags yet"
    return RevisionNotFound(f"there is no revision {name!r}", hint=hint)
