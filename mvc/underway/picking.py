"""What single versions changed, applied to HEAD one after the other: ``cherry-pick`` and ``revert``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mvc.committing import Request
from mvc.errors import AnswerIsNo, CorruptObject, UsageError, UserError
from mvc.history.listing import Listing, list_commits
from mvc.history.merge3 import Conflict, Merged
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.revisions import resolve_commit
from mvc.history.selection import is_range, select
from mvc.history.treediff import build_tree
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit, TreeEntry
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Transaction, Update, begin
from mvc.underway.concluding import conclude, concluding_commit, refuse_changed
from mvc.underway.pending import PENDING, Pending, before_abort, refuse_pending
from mvc.underway.settling import settle
from mvc.underway.taking_back import expect_pending
from mvc.underway.threeway import Choice, Threeway
from mvc.view import View
from mvc.workspace import Workspace, files_of, files_of_tree, locked

PickKind = Literal["cherry-pick", "revert"]


@dataclass(frozen=True, slots=True)
class Picking:
    """How versions are applied.

    ``mainline`` is the number of the parent, from 1, that a merge's changes are counted from. ``note`` adds
    to a message where it was picked from (Git's ``-x``). ``allow_empty`` keeps what changes nothing.
    """

    kind: PickKind
    choice: Choice = field(default_factory=Choice)
    mainline: int | None = None
    note: bool = False
    allow_empty: bool = False

    def words(self) -> list[str]:
        """As it is typed."""
        words = [] if self.mainline is None else ["-m", str(self.mainline)]
        words += ["-x"] if self.note else []
        words += ["--allow-empty"] if self.allow_empty else []
        return [*words, *self.choice.words()]

    def to_value(self) -> dict[str, Any]:
        """For the record of what is under way."""
        return {
            "allow_empty": self.allow_empty,
            "choice": self.choice.to_value(),
            "mainline": self.mainline,
            "note": self.note,
        }

    @classmethod
    def of(cls, pending: Pending, kind: PickKind) -> Picking:
        """How the picks that are under way go on.

        Raises:
            CorruptObject: the record does not tell.
        """
        value = pending.options
        mainline = value.get("mainline")
        if not (mainline is None or type(mainline) is int):
            raise CorruptObject("what is under way names no parent of a merge")
        return cls(
            kind,
            Choice.from_value(value.get("choice")),
            mainline,
            value.get("note") is True,
            value.get("allow_empty") is True,
        )


@dataclass(frozen=True, slots=True)
class Picked:
    """What was done: the versions that were made, oldest first, and where HEAD is now.

    ``stopped`` is the version at which it stopped, None when all were applied; because of ``conflicts``, or,
    when there are none, because it changes nothing. ``left`` counts versions still to come.
    """

    made: tuple[CommitId, ...]
    commit: CommitId
    branch: str | None
    stopped: CommitId | None = None
    conflicts: tuple[Conflict, ...] = ()
    left: int = 0
    written: int = 0
    removed: int = 0


def pick(
    repository: Repository,
    revisions: Sequence[str],
    picking: Picking,
    request: Request,
    *,
    commit: bool = True,
) -> Picked:
    """Apply what revisions changed, or take it back, and make a version of each; ranges ``A..B`` count.

    All of it is one operation. What is in conflict is left in the work tree, the versions before it are made.
    Without ``commit`` only the work tree changes.

    Raises:
        UsageError: a merge without ``mainline``, or the reverse.
        WouldOverwrite: uncommitted work is in files that are touched.
        ConflictError: something is under way already.
    """
    words = [picking.kind, *picking.words(), *([] if commit else ["--no-commit"]), *revisions]
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, " ".join(words), request.author, request.time) as tx,
    ):
        view = tx.view
        refuse_pending(view, f"no {picking.kind} can begin")
        head = view.head_commit()
        if head is None:
            raise UserError("there is no version yet to apply anything to", hint="make the first one")
        oldest_first = picking.kind == "cherry-pick"
        todo = [one for word in revisions for one in _named(view, word, oldest_first=oldest_first)]
        if not todo:
            raise UserError("the range holds no version", hint="mvc log A..B lists what B has and A has not")
        if not commit and len(todo) > 1:
            raise UsageError("without a commit only one version can be applied")
        run = _Run(repository, workspace, tx, picking, request)
        run.start = head
        run.go(head, todo, commit=commit)
        return run.publish(files_of(view, head), None, force=None)


def pick_on(repository: Repository, kind: PickKind, request: Request, choice: Choice | None = None) -> Picked:
    """Conclude the version whose conflicts are resolved, and go on with those still to come.

    With ``choice``, what nobody resolved is merged again with those strategies.

    Raises:
        ConflictError: something is in conflict still, and ``choice`` does not say what to do.
        AnswerIsNo: the version changes nothing.
        UserError: nothing of that kind is under way.
    """
    choice = choice or Choice()
    command = " ".join([f"{kind} --continue", *choice.words()])
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, command, request.author, request.time) as tx,
    ):
        view = tx.view
        pending = expect_pending(view, kind)
        picking = Picking.of(pending, kind)
        whole = choice.over(picking.choice)
        run = _Run(repository, workspace, tx, picking, request)
        run.start = pending.start or pending.ours
        theirs = pending.theirs
        if theirs is None:
            run.go(pending.ours, pending.rest)
            return run.publish(files_of_tree(view, pending.tree), pending, force=None)
        again = (lambda: run.merged(whole, pending.ours, theirs)) if choice else None
        settled = settle(repository, workspace, tx, request, pending, again)
        run.saves.append(settled.job.finder.save)
        if settled.open:
            tree = settled.job.tree(view, pending.ours, settled.files)
            run.stop(replace(pending, tree=tree, conflicts=settled.open), settled.files)
        else:
            concluded = conclude(settled.job, tx, request, pending, settled.files)
            run.made.append(concluded.id)
            run.last = concluded.commit
            run.go(concluded.id, pending.rest)
        return run.publish(settled.work, pending, force=bool(choice))


def pick_past(repository: Repository, kind: PickKind, request: Request) -> Picked:
    """Leave out the version at which it stopped, and go on with those still to come.

    Raises:
        UserError: nothing of that kind is under way.
    """
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, f"{kind} --skip", request.author, request.time) as tx,
    ):
        view = tx.view
        pending = expect_pending(view, kind)
        run = _Run(repository, workspace, tx, Picking.of(pending, kind), request)
        run.start = pending.start or pending.ours
        run.go(pending.ours, pending.rest)
        target = files_of(view, pending.ours)
        return run.publish(
            before_abort(pending, files_of_tree(view, pending.tree), target), pending, force=True
        )


class _Run:
    """One command's picks: trees and versions are made first, then all is published at once."""

    def __init__(
        self,
        repository: Repository,
        workspace: Workspace,
        tx: Transaction,
        picking: Picking,
        request: Request,
    ) -> None:
        self._repository = repository
        self._workspace = workspace
        self._tx = tx
        self._picking = picking
        self._request = request
        self._reader = tx.writer.database
        self._pending: Pending | None = None
        self.saves: list[Callable[[], None]] = []
        self.made: list[CommitId] = []
        self.last: Commit | None = None
        self.start: CommitId
        self.head: CommitId
        self.files: Mapping[str, TreeEntry]

    def merged(self, choice: Choice, ours: CommitId, theirs: CommitId) -> Merged:
        """What a version changed, applied to another one."""
        picked = read_commit(self._reader, theirs)
        other = _other_side(self._reader, picked, theirs, self._picking.mainline)
        label = f"{theirs.short} ({picked.subject})"
        base, side = (other, picked.tree) if self._picking.kind == "cherry-pick" else (picked.tree, other)
        if self._picking.kind == "revert":
            label = f"parent of {label}"
        strategies = choice.parse()
        threeway = Threeway(self._repository, self._tx, strategies, ("HEAD", label))
        self.saves.append(threeway.save)
        if side is None:  # what a first version brought is taken back: nothing was there before
            side = threeway.store({})
        return threeway.trees(base, read_commit(self._reader, ours).tree, side)

    def go(self, head: CommitId, todo: Sequence[CommitId], *, commit: bool = True) -> None:
        """Apply versions to ``head`` until one stops; without ``commit`` only the files come out."""
        self.head = head
        self.files = files_of(self._tx.view, head)
        for number, identity in enumerate(todo):
            merged = self.merged(self._picking.choice, self.head, identity)
            tree = self._store(merged.files)
            same = tree == read_commit(self._reader, self.head).tree
            pending = self._record(identity, tree, merged.conflicts, tuple(todo[number + 1 :]))
            if merged.conflicts:
                self.stop(pending, merged.files)
                return
            self.files = merged.files
            if not commit:
                return
            if same and not self._picking.allow_empty:
                self._stop_at_nothing(pending)
                return
            self.last = concluding_commit(self._reader, pending, tree, self._plain)
            self.head = self._put(self.last)
            self.made.append(self.head)

    def stop(self, pending: Pending, files: Mapping[str, TreeEntry]) -> None:
        """Leave this under way, and these files in the work tree."""
        self._pending, self.head, self.files = pending, pending.ours, files

    def publish(
        self, version: Mapping[str, TreeEntry], before: Pending | None, *, force: bool | None
    ) -> Picked:
        """Bring the work tree, made from ``version``, and the repository where the picks led; ``before`` is
        what was under way."""
        tx, began, head, pending = self._tx, self._tx.view.head_commit(), self.head, self._pending
        value = None if pending is None else pending.store(self._put, self._request.time)
        locate = None if self.last is None or began is None else (head, (began,))

        def build(now: View) -> Update:
            if before is None:
                refuse_pending(now, f"no {self._picking.kind} can begin")
            else:
                refuse_changed(now, tx.view, before)
            refs: dict[str, bytes | None] = {} if before is None and value is None else {PENDING: value}
            if isinstance(now.head, str):
                return Update(refs={**refs, now.head: encode_target(head)}, locate=locate)
            return Update(refs=refs, head=head, locate=locate)

        conflicts = () if pending is None else pending.conflicts
        done = switch(
            self._workspace,
            tx,
            self.files,
            build,
            force=force,
            everything=False,
            version=version,
            clean={conflict.path for conflict in conflicts},
        )
        for save in self.saves:
            save()
        return Picked(
            tuple(self.made),
            head,
            tx.view.branch(),
            None if pending is None else pending.theirs,
            conflicts,
            0 if pending is None else len(pending.rest),
            *done,
        )

    @property
    def _plain(self) -> Request:
        """The request without what is meant for the one version that it concludes."""
        return Request(None, self._request.author, self._request.time)

    def _stop_at_nothing(self, pending: Pending) -> None:
        if pending.kind == "revert" and not pending.rest and not self.made:
            raise AnswerIsNo(
                "nothing to commit: what that version changed is not there any more",
                hint="an empty version must be allowed (--allow-empty, allow_empty=True)",
            )
        self.stop(pending, self.files)

    def _record(
        self,
        theirs: CommitId,
        tree: TreeId,
        conflicts: tuple[Conflict, ...],
        rest: tuple[CommitId, ...],
    ) -> Pending:
        commit = read_commit(self._reader, theirs)
        is_pick = self._picking.kind == "cherry-pick"
        return Pending(
            self._picking.kind,
            self.head,
            theirs,
            tree,
            _picked_message(commit, theirs, self._picking)
            if is_pick
            else _reverted_message(commit, theirs, self._picking),
            commit.author if is_pick else self._request.author,
            conflicts,
            start=self.start,
            rest=rest,
            options=self._picking.to_value(),
        )

    def _store(self, files: Mapping[str, TreeEntry]) -> TreeId:
        return build_tree(files, lambda tree: self._tx.writer.put(TreeId, tree.to_bytes()))

    def _put(self, commit: Commit) -> CommitId:
        return self._tx.writer.put(CommitId, commit.to_bytes())


def _named(view: View, word: str, *, oldest_first: bool) -> list[CommitId]:
    """The version that a word names, or those of a range."""
    if not is_range(word):
        return [resolve_commit(word, view.objects, view)]
    listing = Listing(select([word], view.objects, view))
    found = [listed.id for listed in list_commits(view.objects, listing, lambda _id, _commit: True)]
    return found[::-1] if oldest_first else found


def _other_side(
    reader: ObjectReader, commit: Commit, identity: CommitId, mainline: int | None
) -> TreeId | None:
    """The tree that a version's changes are counted from; None for a first version.

    Raises:
        UsageError: it is a merge, and nobody said from which parent; or there is no such parent.
    """
    parents = commit.parents
    if len(parents) > 1 and mainline is None:
        raise UsageError(
            f"{identity.short} is a merge: its changes are counted from one of {len(parents)} parents",
            hint="-m 1 (mainline=1) counts from the first",
        )
    if mainline is not None and not 1 <= mainline <= max(len(parents), 1):
        raise UsageError(f"{identity.short} has no parent number {mainline}, only {len(parents)}")
    return read_commit(reader, parents[(mainline or 1) - 1]).tree if parents else None


_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*: |\(cherry picked from commit ")


def _picked_message(commit: Commit, identity: CommitId, picking: Picking) -> str:
    if not picking.note:
        return commit.message
    text = commit.message.rstrip("\n")
    _, blank, last = text.rpartition("\n\n")
    # as Git: behind other trailers without a blank line
    joint = "\n" if blank and all(_TRAILER.match(line) for line in last.split("\n")) else "\n\n"
    return f"{text}{joint}(cherry picked from commit {identity.hex()})"


def _reverted_message(commit: Commit, identity: CommitId, picking: Picking) -> str:
    what = f"This reverts commit {identity.hex()}"
    if len(commit.parents) > 1 and picking.mainline is not None:
        what += f", reversing\nchanges made to {commit.parents[picking.mainline - 1].hex()}"
    return f'Revert "{commit.subject}"\n\n{what}.'
