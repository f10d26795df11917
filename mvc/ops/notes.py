"""Notes: metrics and words added to a version after it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mvc.errors import AmbiguousRevision, RevisionNotFound, UsageError
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Commit, Number, Person, Scalar, Timestamp
from mvc.redaction import redact, redact_value
from mvc.refs import NOTES, encode_target
from mvc.registry.notes import Note, Notes
from mvc.repo import Repository
from mvc.transaction import Transaction, Update, begin
from mvc.view import View


@dataclass(frozen=True, slots=True)
class Wording:
    """What is to be noted: any of these."""

    metrics: Mapping[str, Number]
    params: Mapping[str, Scalar]
    message: str = ""


class Annotated(NamedTuple):
    """A version and its notes, oldest first."""

    id: CommitId
    notes: tuple[Note, ...]


def add(
    repository: Repository, revision: str, wording: Wording, who: Person, now: Timestamp
) -> tuple[CommitId, Note]:
    """Add a note to a version, whose id stays as it is. Several may do so at once.

    Raises:
        UsageError: the note says nothing.
        RevisionNotFound: no such version.
    """
    if not (wording.metrics or wording.params or wording.message.strip()):
        raise UsageError("the note says nothing", hint="mvc notes add REV --metric acc=0.91")
    note = _redacted(repository, Note(who, now, wording.metrics, wording.params, wording.message))
    with begin(repository, f"notes add {revision}", who, now) as tx:
        target = resolve_commit(revision, tx.view.objects, tx.view)

        def build(view: View) -> Update | None:
            notes = Notes(view.objects, view)
            known = {item.id: item for item in notes.of(target)}
            if note.id in known:
                return None
            return _update(tx, notes, target, {**known, note.id: note}, who, now, "added")

        tx.publish(build)
    return target, note


def remove(
    repository: Repository, revision: str, who: Person, now: Timestamp, *, note: str | None = None
) -> tuple[CommitId, tuple[Note, ...]]:
    """Take a version's notes away, or the one that is named by (the start of) its id; returns them.

    Raises:
        RevisionNotFound: no such version, or it has no such note.
        AmbiguousRevision: the start of an id fits several notes.
    """
    removed: list[Note] = []
    with begin(repository, f"notes remove {revision}" + (f" {note}" if note else ""), who, now) as tx:
        target = resolve_commit(revision, tx.view.objects, tx.view)

        def build(view: View) -> Update:
            notes = Notes(view.objects, view)
            known = {item.id: item for item in notes.of(target)}
            removed[:] = _named(known, target, note)
            left = {key: item for key, item in known.items() if item not in removed}
            return _update(tx, notes, target, left, who, now, "removed")

        tx.publish(build)
    return target, tuple(removed)


def annotated(view: View, revision: str | None = None) -> Iterator[Annotated]:
    """The versions that have notes, or the one that is named, whether or not it has any.

    Raises:
        RevisionNotFound: no such version.
    """
    notes = Notes(view.objects, view)
    if revision is None:
        for identity in notes.versions():
            yield Annotated(identity, notes.of(identity))
    else:
        identity = resolve_commit(revision, view.objects, view)
        yield Annotated(identity, notes.of(identity))


def _update(
    tx: Transaction,
    notes: Notes,
    target: CommitId,
    known: Mapping[str, Note],
    who: Person,
    now: Timestamp,
    done: str,
) -> Update:
    """The step of the notes' chain after which a version has these."""
    tree = notes.with_notes(target, known.values(), tx.writer)
    parents = () if notes.head is None else (notes.head,)
    commit = Commit(tree, parents, who, now, f"Notes {done}: {target.short}")
    identity = tx.writer.put(CommitId, commit.to_bytes())
    return Update(refs={NOTES: encode_target(identity)}, locate=(identity, parents))


def _named(known: Mapping[str, Note], target: CommitId, start: str | None) -> list[Note]:
    if not known:
        raise RevisionNotFound(f"{target.short} has no notes", hint="'mvc notes list' lists those that have")
    if start is None:
        return list(known.values())
    found = [item for key, item in known.items() if start and key.startswith(start.lower())]
    if not found:
        raise RevisionNotFound(
            f"{target.short} has no note {start!r}", hint="'mvc notes show REV' lists them"
        )
    if len(found) > 1:
        raise AmbiguousRevision(f"{start!r} fits {len(found)} notes", hint="give more of the id")
    return found


def _redacted(repository: Repository, note: Note) -> Note:
    """The note without secrets in its params, as a version would record them."""
    params: dict[str, Scalar] = {}
    for name, value in note.params.items():
        kept, clean = redact(name), redact_value(name, value)
        if (kept, clean) != (name, value):
            repository.monitor.warn(f"param {kept} looks like a secret, so it is recorded as {clean}")
        params[kept] = clean
    return replace(note, params=params)
