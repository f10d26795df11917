"""Which commits a command line means: ``A``, ``A..B``, ``A...B``, ``^A``, ``A^!``, ``A^@``, all branches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mvc.history.names import STATE_REFS, Refs, peel
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId


@dataclass(frozen=True, slots=True)
class Selection:
    """What ``starts`` reach and ``hidden`` do not."""

    starts: tuple[CommitId, ...]
    hidden: tuple[CommitId, ...] = ()


def select(
    words: Sequence[str], reader: ObjectReader, refs: Refs, also: Iterable[CommitId] = ()
) -> Selection:
    """The commits that words name in Git's way, and ``also`` those; HEAD where no word names a start.

    As in Git, a word that only excludes (``^A``) leaves HEAD as the start.

    Raises:
        RevisionNotFound: nothing has that name, or it is no commit.
        AmbiguousRevision: a short id fits several commits.
    """
    starts: list[CommitId] = []
    hidden: list[CommitId] = []
    given = list(also)
    named = bool(given)
    for word in words:
        found = _selected(word, reader, refs)
        starts += found.starts
        hidden += found.hidden
        named = named or not word.startswith("^")
    if not named:
        starts.append(resolve_commit("HEAD", reader, refs))
    return Selection(tuple(dict.fromkeys([*starts, *given])), tuple(dict.fromkeys(hidden)))


def is_range(word: str) -> bool:
    """Whether a word is more than the name of one commit: what stands in it may still be unknown."""
    return word.startswith("^") or (".." in word and word != "..") or word.endswith(("^!", "^@"))


def commits_of_refs(
    reader: ObjectReader, refs: Refs, prefixes: Iterable[str] = ("refs/",)
) -> Iterator[CommitId]:
    """The commits that refs lead to, in order of their names, but for :data:`STATE_REFS`; with ``refs/`` also
    HEAD's."""
    for prefix in prefixes:
        for name in sorted(refs.names(prefix)):
            value = None if name.startswith(STATE_REFS) else refs.get(name)
            target = None if value is None else peel(value, reader)
            if isinstance(target, CommitId):
                yield target
        head = refs.head if prefix == "refs/" else None
        value = refs.get(head) if isinstance(head, str) else head
        if isinstance(value, CommitId):
            yield value


def _selected(word: str, reader: ObjectReader, refs: Refs) -> Selection:
    def commit(text: str) -> CommitId:
        return resolve_commit(text or "HEAD", reader, refs)

    if is_range(word):
        for dots in ("...", ".."):
            left, found, right = word.partition(dots)
            if not found:
                continue
            sides = commit(left), commit(right)
            if dots == "..":
                return Selection(sides[1:], sides[:1])
            from mvc.history.ancestry import merge_bases  # only where it is asked for

            return Selection(sides, tuple(merge_bases(reader, *sides)))
        if word.startswith("^"):
            return Selection((), (commit(word[1:]),))
        only = commit(word[:-2])
        parents = tuple(read_commit(reader, only).parents)
        return Selection(parents) if word.endswith("@") else Selection((only,), parents)
    return Selection((commit(word),))
