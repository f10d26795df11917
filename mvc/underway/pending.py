"""A merge, cherry-pick or revert under way: a commit under ``refs/worktree/pending`` (docs/format.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

from mvc.errors import ConflictError, CorruptObject, ObjectMissing
from mvc.history.merge3 import Conflict, ConflictKind
from mvc.history.reader import ObjectReader, read_commit
from mvc.objectid import ID_BYTES, CommitId, ManifestId, TreeId
from mvc.objects import EXECUTABLE, FILE, Commit, Number, Person, Scalar, Timestamp, TreeEntry
from mvc.paths import path_fault
from mvc.refs import encode_target
from mvc.view import View
from mvc.workspace import files_left, files_of_tree

PENDING = "refs/worktree/pending"
_KEY = "pending"
_MAX_PARENTS = 64
_UNREADABLE = "what is under way cannot be read"
_WAY_OUT = "mvc reset --hard forgets it"

Kind = Literal["merge", "cherry-pick", "revert"]


@dataclass(frozen=True, slots=True)
class Pending:
    """What a command began and did not conclude.

    ``ours`` is the version that HEAD had then, ``theirs`` the one that is merged, picked or reverted; None
    between two of several picks, or after the last that stopped. ``tree`` is what was made of them, as it was
    left in the work tree, ``message`` the message to be, ``author`` who the version's author is to be.
    ``conflicts`` are those that nobody declared resolved. ``squash`` tells that the version is to have one
    parent; ``merge`` is what a merge commit records of how it was made. ``start`` is where HEAD was when the
    first of several picks began, ``rest`` are the versions still to come, ``options`` say how, for the
    command that goes on. ``metrics`` and ``params`` are those that the version is to have.
    """

    kind: Kind
    ours: CommitId
    theirs: CommitId | None
    tree: TreeId
    message: str
    author: Person
    conflicts: tuple[Conflict, ...] = ()
    squash: bool = False
    merge: Mapping[str, Any] | None = None
    start: CommitId | None = None
    rest: tuple[CommitId, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Number] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)

    def store(self, put: Callable[[Commit], CommitId], time: Timestamp) -> bytes:
        """Store it with ``put``; gives the ref's value."""
        return encode_target(put(self._commit(put, time)))

    def _commit(self, put: Callable[[Commit], CommitId], time: Timestamp) -> Commit:
        value: dict[str, Any] = {
            "conflicts": [_conflict_value(conflict) for conflict in self.conflicts],
            "current": self.theirs is not None,
            "kind": self.kind,
            "options": dict(self.options),
            "rest": [bytes(identity) for identity in self.rest],
            "squash": self.squash,
        }
        if self.merge is not None:
            value["merge"] = dict(self.merge)
        if self.start is not None:
            value["start"] = bytes(self.start)
        parents = (self.ours,) if self.theirs is None else (self.ours, self.theirs)
        return Commit(
            self.tree,
            # what is still to come must not be collected, whatever happens to the names that led there
            _holding(parents, self.rest, lambda held: put(self._holder(held, time))),
            self.author,
            time,
            self.message,
            self.metrics,
            self.params,
            extra={_KEY: value},
        )

    def _holder(self, held: tuple[CommitId, ...], time: Timestamp) -> Commit:
        return Commit(self.tree, held, self.author, time, "versions still to be picked")


def _holding(
    parents: tuple[CommitId, ...],
    rest: Sequence[CommitId],
    put: Callable[[tuple[CommitId, ...]], CommitId],
) -> tuple[CommitId, ...]:
    """Parents that lead to ``rest`` too: through one commit more for each few dozen that are too many."""
    room = _MAX_PARENTS - len(parents)
    held = tuple(rest)
    while len(held) > room:
        held = (*held[: -_MAX_PARENTS + 1], put(held[-_MAX_PARENTS + 1 :]))
    return (*parents, *held)


def read_pending(view: View) -> Pending | None:
    """What is under way; None if nothing is.

    Raises:
        CorruptObject, ObjectMissing: what the ref names does not tell.
    """
    identity = view.refs.get(PENDING)
    if identity is None:
        return None
    if not isinstance(identity, CommitId):
        _damaged(f"{PENDING} names a {identity.word}")
    return parse_pending(view.objects, identity)


def parse_pending(reader: ObjectReader, identity: CommitId) -> Pending:
    """What a commit under ``refs/worktree/pending`` tells.

    Raises:
        CorruptObject, ObjectMissing: it does not tell it.
    """
    try:
        commit = read_commit(reader, identity)
    except (CorruptObject, ObjectMissing) as error:
        raise type(error)(f"{_UNREADABLE}: {error.message}", hint=_WAY_OUT) from error
    value = commit.extra.get(_KEY)
    if not isinstance(value, dict):
        _damaged("a commit under refs/worktree/pending tells nothing of it")
    kind, options, conflicts = value.get("kind"), value.get("options"), value.get("conflicts")
    if kind is None or kind not in get_args(Kind):
        _damaged("it is of no known kind")
    if not isinstance(options, dict) or not isinstance(conflicts, list):
        _damaged("it has no options or conflicts")
    current = value.get("current") is True
    if len(commit.parents) < 1 + current:
        _damaged("it lacks a parent")
    merge, start, rest = value.get("merge"), value.get("start"), value.get("rest")
    if not (merge is None or isinstance(merge, dict)) or not isinstance(rest, list):
        _damaged("what it would record is not a map, or what is to come is not an array")
    return Pending(
        kind,
        commit.parents[0],
        commit.parents[1] if current else None,
        commit.tree,
        commit.message,
        commit.author,
        tuple(_conflict(item) for item in conflicts),
        value.get("squash") is True,
        merge,
        None if start is None else _commit_id(start),
        tuple(_commit_id(item) for item in rest),
        options,
        commit.metrics,
        commit.params,
    )


def refuse_pending(view: View, doing: str) -> None:
    """Refuse a command that does not go with something under way.

    Raises:
        ConflictError: there is something.
    """
    pending = read_pending(view)
    if pending is not None:
        raise ConflictError(f"{doing}: a {pending.kind} is under way", hint=how_on(pending))


def how_on(pending: Pending) -> str:
    """A hint on how to end what is under way."""
    return f"conclude it (mvc {pending.kind} --continue) or take it back (mvc {pending.kind} --abort)"


def tracked_files(view: View, pending: Pending | None) -> dict[str, TreeEntry]:
    """The files that the work tree was made from: HEAD's, and what is under way made of them."""
    head = files_left(view, view.head_commit())
    return head if pending is None else {**head, **files_of_tree(view, pending.tree)}


def before_abort(
    pending: Pending, left: Mapping[str, TreeEntry], target: Mapping[str, TreeEntry]
) -> dict[str, TreeEntry]:
    """The files that the work tree is taken to be made from when what is under way is taken back.

    Files that are in conflict go back whatever was done to them since, also where the merge left them as
    ``target`` has them; others only where the merge changed them, so unrelated work stays.
    """
    conflicted = {conflict.path for conflict in pending.conflicts}
    return {path: entry for path, entry in left.items() if path not in conflicted or path not in target}


# --- conflicts ---------------------------------------------------------------------------------------------
def _conflict_value(conflict: Conflict) -> dict[str, Any]:
    return {
        "details": list(conflict.details),
        "kind": conflict.kind,
        "ours": _entry_value(conflict.ours),
        "path": conflict.path,
        "theirs": _entry_value(conflict.theirs),
    }


def _entry_value(entry: TreeEntry | None) -> list[Any] | None:
    return None if entry is None else [entry.mode, bytes(entry.id)]


def _conflict(item: Any) -> Conflict:
    if not isinstance(item, dict) or not {"details", "kind", "ours", "path", "theirs"} <= item.keys():
        _damaged("a conflict lacks parts")
    path, kind, details = item["path"], item["kind"], item["details"]
    if type(path) is not str or kind not in get_args(ConflictKind):
        _damaged("a conflict has no path, or a kind that is none")
    if not isinstance(details, list) or not all(type(word) is str for word in details):
        _damaged("a conflict's details are not texts")
    fault = path_fault(path)
    if fault is not None:
        _damaged(f"the path of a conflict {fault}")
    name = path.rpartition("/")[2]
    # the base may be of no version, and then nothing would keep it from being collected
    return Conflict(
        path, kind, None, _entry(name, item["ours"]), _entry(name, item["theirs"]), tuple(details)
    )


def _entry(name: str, item: Any) -> TreeEntry | None:
    if item is None:
        return None
    if not (isinstance(item, list) and len(item) == 2 and item[0] in (FILE, EXECUTABLE)):
        _damaged("a side of a conflict is no file")
    if type(item[1]) is not bytes or len(item[1]) != ID_BYTES:
        _damaged("a side of a conflict has no manifest's id")
    return TreeEntry(name, item[0], ManifestId(item[1]))


def _commit_id(item: Any) -> CommitId:
    if type(item) is not bytes or len(item) != ID_BYTES:
        _damaged("a version's id is not one")
    return CommitId(item)


def _damaged(why: str) -> NoReturn:
    raise CorruptObject(f"{_UNREADABLE}: {why}", hint=_WAY_OUT)
