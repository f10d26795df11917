"""What refs, HEAD and the work tree were right after an operation, read back out of the operation log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvc.errors import AmbiguousRevision, RevisionNotFound
from mvc.history.treediff import diff_trees, overlay
from mvc.objectid import CommitId, OperationId, TreeId
from mvc.objects import TreeEntry
from mvc.oplog import HeadValue, Operation
from mvc.view import View
from mvc.workspace import EMPTY_TREE_ID, files_of


@dataclass(frozen=True, slots=True)
class Moment:
    """A state that the log remembers.

    ``refs`` are those that have another value now, with the one that they had (None: there was none).
    ``files`` are what the work tree held as far as mvc saw it: what the last commit took or the last
    checkout wrote, whichever came later for each path; None where neither had happened yet.
    """

    refs: Mapping[str, bytes | None]
    head: str | CommitId | None
    files: Mapping[str, TreeEntry] | None


def find_operation(view: View, text: str) -> Operation:
    """The operation whose id begins so.

    Raises:
        RevisionNotFound: there is none.
        AmbiguousRevision: there are several.
    """
    wanted = text.lower()
    found = [operation for operation in view.operations() if operation.id.hex().startswith(wanted)]
    if not found or not wanted:
        raise RevisionNotFound(f"no operation is called {text!r}", hint="'mvc oplog' lists them")
    if len(found) > 1:
        raise AmbiguousRevision(f"{text!r} fits {len(found)} operations", hint="give more of the id")
    return found[0]


def right_after(view: View, operation: OperationId) -> Moment:
    """The state that an operation left.

    Operations after it are taken back one by one; those before it are looked at until one of them says what
    lay in the work tree.
    """
    head: HeadValue = view.root.head
    values: dict[str, HeadValue] = {}  # of refs, where they differ from now: after the operation in hand
    moment: tuple[dict[str, bytes | None], HeadValue] | None = None
    known: dict[str, TreeEntry | None] = {}
    for item in view.operations():
        if item.id == operation:
            refs = {name: value if isinstance(value, bytes) else None for name, value in values.items()}
            moment = {name: value for name, value in refs.items() if view.refs.value(name) != value}, head
        changed = {change.name: change.before for change in item.changes}
        if moment is not None:
            if item.worktree is not None:
                _learn(view, known, *item.worktree)
            elif item.undoes is None and ("HEAD" in changed or head in changed):
                commit = view.commit_meant(head, values)
                if _was_made(view, commit, item):
                    return _moment(view, moment, files_of(view, commit), known)
        head = changed.pop("HEAD", head)
        values.update(changed)
    if moment is None:
        raise RevisionNotFound(
            f"operation {operation.short} is not in the log", hint="'mvc oplog' lists them"
        )
    began = files_of(view, view.commit_meant(head, values))
    return _moment(view, moment, began if began or known else None, known)


def _learn(view: View, known: dict[str, TreeEntry | None], before: TreeId, after: TreeId) -> None:
    """What an operation did to the work tree, where no later one did something else."""
    trees = [None if tree == EMPTY_TREE_ID else tree for tree in (before, after)]
    for change in diff_trees(view.objects, *trees):
        known.setdefault(change.path, change.new)


def _was_made(view: View, commit: CommitId | None, operation: Operation) -> bool:
    """Whether the operation made the commit that HEAD meant after it, of what lay in the work tree. What only
    moves HEAD over the files, as ``reset --soft`` does, leads to a commit of another time."""
    return commit is not None and view.commit(commit).time == operation.time


def _moment(
    view: View,
    moment: tuple[dict[str, bytes | None], HeadValue],
    files: Mapping[str, TreeEntry] | None,
    known: Mapping[str, TreeEntry | None],
) -> Moment:
    refs, head = moment
    if files is not None:
        placed = {path: entry for path, entry in known.items() if entry is not None}
        left = {path: entry for path, entry in files.items() if path not in known}
        files = overlay(left, placed)
    return Moment(refs, CommitId(head) if isinstance(head, bytes) else head, files)
