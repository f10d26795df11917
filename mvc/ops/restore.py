"""Bring files of the work tree back from a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mvc.errors import RefMoved, RevisionNotFound, UsageError, UserError
from mvc.history.revisions import resolve_commit
from mvc.history.treediff import build_tree
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit, Person, Timestamp, TreeEntry
from mvc.paths import is_below, is_wanted
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Transaction, Update, begin
from mvc.underway.pending import PENDING, read_pending, tracked_files
from mvc.view import View
from mvc.workspace import Workspace, files_of, files_of_tree, locked

Side = Literal["ours", "theirs"]


@dataclass(frozen=True, slots=True)
class Restored:
    """How many files were written and removed, and which conflicts were resolved thereby."""

    written: int
    removed: int
    resolved: tuple[str, ...] = ()


def restore(
    repository: Repository,
    paths: Sequence[str],
    who: Person,
    now: Timestamp,
    *,
    source: str | None = None,
    side: Side | None = None,
) -> Restored:
    """Make files, and what lies in folders, what they are in ``source`` (default: HEAD, or what a merge that
    is under way made of them); HEAD stays.

    As in Git nothing is asked first, and tracked files that the source lacks are removed; here what is
    overwritten is stored, and ``undo`` brings it back. With ``side``, files in conflict become what they
    are on that side, and count as resolved. No path means all.

    Raises:
        RevisionNotFound: there is no such revision, or nothing has such a path.
        UserError: ``side`` is given, and nothing is in conflict there.
    """
    if source is not None and side is not None:
        raise UsageError("a source and a side do not go together")
    words = [
        "restore",
        *([] if side is None else [f"--{side}"]),
        *([] if source is None else ["--source", source]),
    ]
    command = " ".join([*words, *(paths or ["."])])
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:
        wanted = tuple(paths) or ("",)
        if side is not None:
            return _take_side(workspace, tx, wanted, side, now)
        view = tx.view
        pending = read_pending(view)
        tracked = tracked_files(view, pending)
        if source is None and pending is not None:
            origin = files_of_tree(view, pending.tree)
        else:
            origin = files_of(view, resolve_commit(source or "HEAD", view.objects, view))
        known = tracked.keys() | origin.keys()
        for name in wanted:
            if name and not any(is_below(path, name) for path in known):
                raise RevisionNotFound(
                    f"nothing is called {name!r} in {source or 'HEAD'}",
                    hint=f"mvc ls {source or 'HEAD'} lists its files",
                )
        workspace.take(paths)
        done = switch(
            workspace,
            tx,
            _below(origin, wanted),
            lambda _view: Update(),
            force=True,
            everything=True,
            asked=tuple(paths),
            version=_below(tracked, wanted),
        )
        return Restored(*done)


def _take_side(
    workspace: Workspace, tx: Transaction, wanted: tuple[str, ...], side: Side, now: Timestamp
) -> Restored:
    pending = read_pending(tx.view)
    taken = [
        conflict
        for conflict in (() if pending is None else pending.conflicts)
        if is_wanted(conflict.path, wanted)
    ]
    if pending is None or not taken:
        raise UserError("nothing is in conflict there", hint="'mvc status' lists what is")
    chosen: dict[str, TreeEntry | None] = {conflict.path: getattr(conflict, side) for conflict in taken}
    given = {path: entry for path, entry in chosen.items() if entry is not None}
    left = files_of_tree(tx.view, pending.tree)
    kept = {path: entry for path, entry in left.items() if path not in chosen}
    rest = replace(
        pending,
        tree=build_tree({**kept, **given}, lambda tree: tx.writer.put(TreeId, tree.to_bytes())),
        conflicts=tuple(conflict for conflict in pending.conflicts if conflict.path not in chosen),
    )
    before = tx.view.refs.value(PENDING)

    def build(view: View) -> Update:
        if view.refs.value(PENDING) != before:
            raise RefMoved("what is under way was changed meanwhile", hint="run this one again")

        def put(commit: Commit) -> CommitId:
            return tx.writer.put(CommitId, commit.to_bytes())

        return Update(refs={PENDING: rest.store(put, now)})

    done = switch(
        workspace,
        tx,
        given,
        build,
        force=True,
        everything=True,
        version={path: left[path] for path in chosen if path in left},
        asked=wanted,
    )
    return Restored(*done, tuple(sorted(chosen)))


def _below(files: dict[str, TreeEntry], wanted: tuple[str, ...]) -> dict[str, TreeEntry]:
    return {path: entry for path, entry in files.items() if is_wanted(path, wanted)}
