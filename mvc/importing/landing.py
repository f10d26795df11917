"""Branches and tags to the versions that were imported, and the work tree with the current branch."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mvc.errors import ConflictError
from mvc.history.ancestry import is_ancestor
from mvc.history.refnames import short_ref_name
from mvc.importing.known import UNDER_WAY
from mvc.importing.version import Name
from mvc.objectid import CommitId, ObjectId, TagId
from mvc.objects import Tag
from mvc.refs import BRANCHES, TAGS, encode_target
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Transaction, Update
from mvc.underway.pending import refuse_pending
from mvc.view import View
from mvc.workspace import files_of, locked

BESIDE = "refs/remotes/import/"
"""Where a branch lands that has gone another way here."""

Outcome = Literal["new", "moved", "same", "diverged", "kept"]


class Landing(NamedTuple):
    """A branch or tag (its full name), where it is to be, and what became of it. ``diverged``: the branch has
    versions of its own here, so what was imported is at :data:`BESIDE`; ``kept``: a tag that is somewhere
    else already stays there."""

    ref: str
    target: CommitId
    outcome: Outcome


@dataclass(slots=True)
class Landed:
    """All branches and tags; files of the work tree that were ``written`` and ``removed``."""

    names: list[Landing] = field(default_factory=list)
    written: int = 0
    removed: int = 0


def land(
    repository: Repository,
    tx: Transaction,
    made: Update,
    names: Sequence[Name],
    versions: Mapping[str, CommitId],
    under_way: Collection[str],
) -> Landed:
    """Bring branches and tags to their versions, in one change of root, and forget what was ``under_way``.
    ``made`` is how the last versions, which ``tx`` holds, would be published without names.

    Raises:
        WouldOverwrite: the current branch moves, and uncommitted work is in the way; all that was stored
            stays for another try.
        ConflictError: the current branch moves, and a merge is under way.
    """
    landed = Landed()
    with locked(repository, exclusive=True) as workspace:
        tags = {name.ref: _tag(tx, name, versions[name.version]) for name in names if name.tag is not None}

        def build(view: View) -> Update:
            landed.names = list(_landings(view, names, versions, tags))
            refs: dict[str, bytes | None] = dict.fromkeys(_over(view, under_way))
            for one in landed.names:
                if one.outcome in ("new", "moved"):
                    tag = tags.get(one.ref)
                    refs[one.ref] = (
                        encode_target(one.target) if tag is None else encode_target(tag, one.target)
                    )
                elif one.outcome == "diverged":
                    refs[BESIDE + one.ref.removeprefix(BRANCHES)] = encode_target(one.target)
            changed = {name: value for name, value in refs.items() if view.refs.value(name) != value}
            return Update(refs=changed, locate=made.locate)

        update = build(tx.view)
        head = tx.view.head
        target = next(
            (one.target for one in landed.names if one.ref == head and one.outcome in ("new", "moved")), None
        )
        if target is not None:
            try:
                refuse_pending(tx.view, "the current branch cannot move")
                landed.written, landed.removed = switch(
                    workspace, tx, files_of(tx.view, target), build, force=None, everything=False
                )
            except ConflictError:
                _keep(tx, made)
                raise
        elif update.refs:
            tx.publish(build)
    return landed


def _keep(tx: Transaction, made: Update) -> None:
    """Publish the last versions without names, for another try."""
    if made.locate is not None:
        # a journal of the work tree that could not be taken back must not find this operation for its own
        tx.token = os.urandom(16)
        tx.publish(lambda _view: made)


def _over(view: View, under_way: Collection[str]) -> Iterator[str]:
    """Refs of imports that are not needed any more."""
    return (name for name in view.refs.names(UNDER_WAY) if name in under_way)


def _landings(
    view: View, names: Sequence[Name], versions: Mapping[str, CommitId], tags: Mapping[str, TagId]
) -> Iterator[Landing]:
    for name in names:
        target = versions[name.version]
        wanted: ObjectId = tags.get(name.ref, target)
        yield Landing(name.ref, target, _outcome(view, name.ref, wanted))


def _outcome(view: View, ref: str, wanted: ObjectId) -> Outcome:
    current = view.refs.get(ref)
    if current is None:
        return "new"
    if current == wanted:
        return "same"
    if ref.startswith(TAGS):
        return "kept"
    if not isinstance(current, CommitId) or not isinstance(wanted, CommitId):
        return "kept"
    if is_ancestor(view.objects, current, wanted):
        return "moved"
    return "same" if is_ancestor(view.objects, wanted, current) else "diverged"


def _tag(tx: Transaction, name: Name, target: CommitId) -> TagId:
    text = name.tag
    if text is None:
        raise AssertionError("only annotated tags are objects")
    tag = Tag(target, short_ref_name(name.ref), text.tagger, text.time, text.message)
    return tx.writer.put(TagId, tag.to_bytes())
