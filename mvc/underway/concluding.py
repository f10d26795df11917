"""From what is under way to the version that concludes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from mvc.committing import Job, Request
from mvc.errors import AnswerIsNo, CorruptObject, RefMoved
from mvc.history.reader import ObjectReader, read_commit
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit, Timestamp, TreeEntry
from mvc.refs import encode_target
from mvc.transaction import Transaction, Update
from mvc.underway.pending import PENDING, Pending
from mvc.view import View


class Concluded(NamedTuple):
    """The new version, stored and not yet published."""

    id: CommitId
    commit: Commit


def conclude(
    job: Job, tx: Transaction, request: Request, pending: Pending, files: Mapping[str, TreeEntry]
) -> Concluded:
    """Store the version of ``files`` that concludes what is under way.

    Raises:
        AnswerIsNo: a pick that changes nothing, and ``allow_empty`` is not set.
    """
    tree = job.tree(tx.view, pending.ours, files)
    is_merge = pending.kind == "merge" and not pending.squash
    if not is_merge and not request.allow_empty and read_commit(tx.view.objects, pending.ours).tree == tree:
        raise AnswerIsNo(
            f"nothing to commit: the {pending.kind} leaves the files as the last version has them",
            hint="an empty commit must be allowed (--allow-empty, allow_empty=True)",
        )
    commit = concluding_commit(tx.view.objects, pending, tree, request)
    made = Concluded(tx.writer.put(CommitId, commit.to_bytes()), commit)
    job.made(*made)
    return made


def concluding_commit(reader: ObjectReader, pending: Pending, tree: TreeId, request: Request) -> Commit:
    """The commit of a tree that concludes a merge or a pick.

    A cherry-picked version keeps its author, message, params and data, which say what was done. Its metrics,
    code and environment say how the files came out, so they are kept only where the files came out the same.
    """
    message = pending.message if request.message is None else request.message
    plain = Commit(
        tree,
        (pending.ours,),
        request.author,
        request.time,
        message,
        {**pending.metrics, **request.metrics},
        {**pending.params, **request.params},
        data=dict(request.data),
        code=request.code,
        environment=request.environment,
    )
    if pending.theirs is None:
        raise CorruptObject(f"the {pending.kind} under way has no version to conclude")
    if pending.kind == "merge" and not pending.squash:
        extra = {} if pending.merge is None else {"merge": dict(pending.merge)}
        return replace(plain, parents=(pending.ours, pending.theirs), extra=extra)
    if pending.kind != "cherry-pick":
        return plain
    picked = read_commit(reader, pending.theirs)
    same = picked.tree == tree
    return replace(
        plain,
        author=request.author if request.reauthor else pending.author,
        metrics={**(picked.metrics if same else {}), **plain.metrics},
        params={**picked.params, **plain.params},
        data={**picked.data, **request.data},
        code=(picked.code if same else None) or request.code,
        environment=(picked.environment if same else None) or request.environment,
    )


def concluding_update(
    view: View, tx: Transaction, made: Concluded, pending: Pending, time: Timestamp
) -> Update:
    """The update that publishes a concluding version, and ends what was under way or leaves what of it is
    still to come.

    Raises:
        RefMoved: HEAD or what is under way was changed meanwhile.
    """
    refuse_changed(view, tx.view, pending)
    value = None
    if pending.rest:
        between = replace(pending, ours=made.id, theirs=None, tree=made.commit.tree, message="", conflicts=())
        value = between.store(lambda commit: tx.writer.put(CommitId, commit.to_bytes()), time)
    locate = (made.id, made.commit.parents)
    if isinstance(view.head, str):
        return Update(refs={view.head: encode_target(made.id), PENDING: value}, locate=locate)
    return Update(refs={PENDING: value}, head=made.id, locate=locate)


def refuse_changed(now: View, before: View, pending: Pending | None) -> None:
    """Refuse to go on when HEAD, or what is under way, is not what it was.

    Raises:
        RefMoved: it is not.
    """
    if now.refs.value(PENDING) != before.refs.value(PENDING) or now.root.head != before.root.head:
        raise RefMoved("what is under way was changed meanwhile", hint="run 'mvc status', then try again")
    if pending is not None and now.head_commit() != pending.ours:
        raise RefMoved(
            f"HEAD was moved since the {pending.kind} began",
            hint=f"mvc {pending.kind} --abort, then begin again",
        )
