"""Tags: names for versions that do not move by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.errors import ConflictError, RevisionNotFound
from mvc.history.revisions import check_ref_name, resolve_commit
from mvc.objectid import CommitId, TagId
from mvc.objects import Person, Tag, Timestamp
from mvc.refs import TAGS, decode_target, encode_target, peeled_target
from mvc.repo import Repository
from mvc.transaction import Update, begin
from mvc.view import View


class TagRow(NamedTuple):
    """A tag: its name, the commit that it means, and its own id when annotated."""

    name: str
    target: CommitId
    annotation: TagId | None


def tags(view: View) -> Iterator[TagRow]:
    """Every tag, by name."""
    for name, value in view.refs.values(TAGS):
        target, identity = peeled_target(value), decode_target(value)
        if target is not None:
            yield TagRow(name.removeprefix(TAGS), target, identity if isinstance(identity, TagId) else None)


def read_tag(view: View, identity: TagId) -> Tag:
    """An annotated tag."""
    return Tag.from_bytes(view.objects.get(identity))


def create(
    repository: Repository,
    name: str,
    revision: str,
    who: Person,
    now: Timestamp,
    *,
    message: str | None = None,
    force: bool = False,
) -> CommitId:
    """Tag a revision; with a message the tag is annotated. Nothing happens where there is that very tag.

    Raises:
        ConflictError: there is another one of that name, and ``force`` is not set.
    """
    check_ref_name(name)
    ref = TAGS + name
    with begin(repository, f"tag {name}", who, now) as tx:
        target = resolve_commit(revision, tx.view.objects, tx.view)
        if message is None:
            value = encode_target(target)
        else:
            tag = Tag(target, name, who, now, message)
            value = encode_target(tx.writer.put(TagId, tag.to_bytes()), target)

        def build(view: View) -> Update | None:
            there = view.refs.value(ref)
            if there is not None and _is_same(view, there, target, who, message):
                return None
            if there is not None and not force:
                raise ConflictError(
                    f"a tag called {name!r} exists", hint="force (--force, force=True) moves it"
                )
            return Update(refs={ref: value})

        tx.publish(build)
    return target


def _is_same(view: View, value: bytes, target: CommitId, who: Person, message: str | None) -> bool:
    identity = decode_target(value)
    if not isinstance(identity, TagId):
        return message is None and identity == target
    tag = read_tag(view, identity)
    return (tag.target, tag.tagger, tag.message) == (target, who, message)


def delete(repository: Repository, name: str, who: Person, now: Timestamp) -> CommitId:
    """Remove a tag; returns the commit that it meant.

    Raises:
        RevisionNotFound: there is none of that name.
    """
    ref = TAGS + name
    found: list[CommitId] = []
    with begin(repository, f"tag --delete {name}", who, now) as tx:

        def build(view: View) -> Update:
            value = view.refs.value(ref)
            target = None if value is None else peeled_target(value)
            if target is None:
                raise RevisionNotFound(f"no tag is called {name!r}", hint="'mvc tag' lists them")
            found[:] = [target]
            return Update(refs={ref: None})

        tx.publish(build)
    return found[0]
