"""Another line of history into the current one: what ``merge`` and ``pull`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from mvc.committing import Request, redacted
from mvc.errors import AnswerIsNo, UsageError, UserError
from mvc.heading import PREVIOUS, previous_head
from mvc.history.ancestry import merge_bases
from mvc.history.listing import Listing, list_commits
from mvc.history.merge3 import Conflict
from mvc.history.refnames import short_ref_name
from mvc.history.revisions import resolve, resolve_commit
from mvc.history.selection import Selection
from mvc.history.treediff import Change, diff_trees
from mvc.merging.strategy import Strategies
from mvc.objectid import CommitId
from mvc.refs import BRANCHES, TAGS, encode_target
from mvc.repo import DEFAULT_BRANCH, Repository
from mvc.switch import switch
from mvc.transaction import Transaction, Update, begin
from mvc.underway.concluding import concluding_commit
from mvc.underway.pending import PENDING, Pending, refuse_pending
from mvc.underway.threeway import Choice, Threeway
from mvc.view import View
from mvc.workspace import Workspace, files_of, locked

MergeKind = Literal["up-to-date", "fast-forward", "merged", "prepared", "conflicts"]
OURS = "HEAD"
"""What conflict markers call the current side."""
_REMOTES = "refs/remotes/"


class Naming(NamedTuple):
    """How a merge is spoken of that another command makes: by conflict markers, in the message behind
    ``Merge``, and in the operation log."""

    label: str
    what: str
    command: str


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What to merge, and how.

    ``commit`` carries who, when, metrics and params; its message may be None for Git's. ``fast_forward``:
    ``yes`` where it can be, ``only``, or ``no``. Without ``conclude`` the merge stays under way, also where
    there are no conflicts; ``squash`` leaves it so too, and what concludes it has one parent. ``unrelated``
    allows histories without a common version. ``dry_run`` only says what would happen. ``naming``
    is of another command that merges.
    """

    revision: str
    commit: Request
    choice: Choice = field(default_factory=Choice)
    fast_forward: Literal["yes", "only", "no"] = "yes"
    conclude: bool = True
    squash: bool = False
    unrelated: bool = False
    dry_run: bool = False
    naming: Naming | None = None


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge did, or would do.

    ``kind`` is ``prepared`` for a merge without conflicts that waits to be concluded. ``commit`` is where
    HEAD is now; None in a dry run that would make a version. ``changes`` lead from HEAD's files to the
    merged ones; ``bases`` are the best common ancestors.
    """

    kind: MergeKind
    theirs: CommitId
    commit: CommitId | None
    branch: str | None
    bases: tuple[CommitId, ...] = ()
    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    written: int = 0
    removed: int = 0


def merge(repository: Repository, request: MergeRequest) -> MergeResult:
    """Merge a revision into the current branch, or into a detached HEAD.

    Files that one side changed are that side's; files that both changed are merged by what they are. What is
    in conflict is left in the work tree and recorded under ``refs/worktree/pending``: a commit or
    :func:`mvc.ops.merge.conclude_merge` concludes it, :func:`mvc.ops.merge.abort` takes it back.

    Raises:
        AnswerIsNo: only a fast-forward is allowed, and there is none.
        UserError: the histories are unrelated, and that is not allowed.
        WouldOverwrite: uncommitted work is in files that the merge touches.
        ConflictError: a merge is under way already.
        RefMoved: HEAD was moved by another command meanwhile.
    """
    request = replace(request, commit=redacted(request.commit, repository.monitor))
    if request.squash and request.fast_forward == "no":
        raise UsageError("a squash makes no merge commit, so --squash and --no-ff do not go together")
    strategies = request.choice.parse()
    who, now = request.commit.author, request.commit.time
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, _command(request), who, now) as tx,
    ):
        view = tx.view
        refuse_pending(view, "no merge can begin")
        name, theirs = _named(view, request.revision)
        name = name if request.naming is None else request.naming.label
        ours = view.head_commit()
        if ours is None:
            return _forward(workspace, tx, request, None, theirs, ())
        bases = tuple(merge_bases(view.objects, ours, theirs))
        if theirs in bases:
            return MergeResult("up-to-date", theirs, ours, view.branch(), bases)
        if ours in bases and request.fast_forward != "no" and not request.squash:
            return _forward(workspace, tx, request, ours, theirs, bases)
        _refuse_threeway(request, strategies, bases, cut=bool(view.objects.shallow))
        threeway = Threeway(repository, tx, strategies, (OURS, name))
        merged = threeway.commits(ours, theirs)
        tree = threeway.store(merged.files)
        pending = Pending(
            "merge",
            ours,
            theirs,
            tree,
            _message_of(view, request, ours, theirs),
            who,
            merged.conflicts,
            squash=request.squash,
            merge={**strategies.to_value(), "bases": [bytes(base) for base in bases]},
            options={"label": name, "choice": request.choice.to_value()},
            metrics=request.commit.metrics,
            params=request.commit.params,
        )
        changes = tuple(diff_trees(view.objects, view.commit(ours).tree, tree))
        waits = bool(merged.conflicts) or request.squash or not request.conclude
        kind: MergeKind = "conflicts" if merged.conflicts else "prepared" if waits else "merged"
        told = MergeResult(
            kind, theirs, ours if waits else None, view.branch(), bases, changes, merged.conflicts
        )
        if request.dry_run:
            return told
        commit, build = _published(tx, threeway, pending, request.commit, waits=waits)
        written, removed = switch(
            workspace,
            tx,
            merged.files,
            build,
            force=None,
            everything=False,
            clean={conflict.path for conflict in merged.conflicts},
        )
        threeway.save()
        return replace(told, commit=commit, written=written, removed=removed)


def _refuse_threeway(
    request: MergeRequest, strategies: Strategies, bases: Sequence[CommitId], *, cut: bool
) -> None:
    """Refuse a merge that is not what was asked for, or has nothing to begin at. ``cut``: history is not all
    here."""
    if request.fast_forward == "only":
        raise AnswerIsNo(
            "not a fast-forward: both sides have versions that the other one lacks",
            hint="merge without --ff-only",
        )
    if not bases and cut and not request.unrelated:
        raise UserError(
            f"{request.revision} and HEAD may well have a version in common, but history was cut by --depth",
            hint="mvc fetch --unshallow brings it",
        )
    if not bases and not request.unrelated:
        raise UserError(
            f"{request.revision} has no version in common with HEAD",
            hint="--allow-unrelated-histories (unrelated=True) merges it all the same",
        )
    if not bases and strategies.needs_base:
        raise UsageError(
            "these strategies work on changes since a common version, and there is none",
            hint="average, slerp, ours and theirs need none",
        )


# --- parts -------------------------------------------------------------------------------------------------
def _forward(
    workspace: Workspace,
    tx: Transaction,
    request: MergeRequest,
    ours: CommitId | None,
    theirs: CommitId,
    bases: tuple[CommitId, ...],
) -> MergeResult:
    """HEAD's branch to a version that comes after it, or to a first one."""
    view = tx.view
    tree = None if ours is None else view.commit(ours).tree
    changes = tuple(diff_trees(view.objects, tree, view.commit(theirs).tree))
    told = MergeResult("fast-forward", theirs, theirs, view.branch(), bases, changes)
    if request.dry_run:
        return told

    def build(now: View) -> Update:
        refuse_pending(now, "no merge can begin")
        if isinstance(now.head, str):
            return Update(refs={now.head: encode_target(theirs)})
        return Update(head=theirs)

    written, removed = switch(workspace, tx, files_of(view, theirs), build, force=None, everything=False)
    return replace(told, written=written, removed=removed)


def _published(
    tx: Transaction, threeway: Threeway, pending: Pending, request: Request, *, waits: bool
) -> tuple[CommitId, Callable[[View], Update]]:
    """Where HEAD will be, and the update that makes the merge, or what is under way, visible."""
    if waits:
        value = pending.store(threeway.put, request.time)

        def leave(now: View) -> Update:
            refuse_pending(now, "no merge can begin")
            return Update(refs={PENDING: value})

        return pending.ours, leave
    commit = concluding_commit(tx.view.objects, pending, pending.tree, request)
    identity = threeway.put(commit)

    def finish(now: View) -> Update:
        refuse_pending(now, "no merge can begin")
        locate = (identity, commit.parents)
        if isinstance(now.head, str):
            return Update(refs={now.head: encode_target(identity)}, locate=locate)
        return Update(head=identity, locate=locate)

    return identity, finish


def _command(request: MergeRequest) -> str:
    """What the operation log calls it, as it was typed."""
    if request.naming is not None:
        return request.naming.command
    words = ["merge"]
    words += {"yes": [], "only": ["--ff-only"], "no": ["--no-ff"]}[request.fast_forward]
    words += ["--squash"] if request.squash else []
    words += [] if request.conclude else ["--no-commit"]
    words += ["--allow-unrelated-histories"] if request.unrelated else []
    return " ".join([*words, *request.choice.words(), request.revision])


def _named(view: View, revision: str) -> tuple[str, CommitId]:
    """What is merged, as conflict markers call it, and its version."""
    if revision == PREVIOUS:
        before = previous_head(view)
        revision = short_ref_name(before) if isinstance(before, str) else before.hex()
    return revision, resolve_commit(revision, view.objects, view)


def _message_of(view: View, request: MergeRequest, ours: CommitId, theirs: CommitId) -> str:
    if request.commit.message is not None:
        return request.commit.message
    return _squash_message(view, ours, theirs) if request.squash else _message(view, request)


def _message(view: View, request: MergeRequest) -> str:
    """Git's message of a merge."""
    branch = view.branch()
    into = "" if branch == DEFAULT_BRANCH else f" into {branch or 'HEAD'}"
    what = _what(view, request.revision) if request.naming is None else request.naming.what
    return f"Merge {what}{into}"


def _what(view: View, revision: str) -> str:
    name, _target = _named(view, revision)
    ref = resolve(name, view.objects, view).ref or ""
    for prefix, word in ((BRANCHES, "branch"), (TAGS, "tag"), (_REMOTES, "remote-tracking branch")):
        if ref.startswith(prefix):
            return f"{word} '{ref.removeprefix(prefix)}'"
    return f"commit '{name}'"


def _squash_message(view: View, ours: CommitId, theirs: CommitId) -> str:
    """Git's message of a squash: the versions that become one, newest first."""
    lines = ["Squashed commit of the following:"]
    listing = Listing(Selection((theirs,), (ours,)))
    for listed in list_commits(view.objects, listing, lambda _id, _commit: True):
        lines += ["", f"commit {listed.id.hex()}", "", f"    {listed.commit.subject}"]
    return "\n".join(lines)
