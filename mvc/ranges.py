"""``A..B``: the versions that B reaches and A does not."""

from __future__ import annotations

from mvc.history.graph import walk
from mvc.history.reader import ObjectReader
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.repo import View


def commits_between(reader: ObjectReader, without: CommitId, tip: CommitId) -> list[CommitId]:
    """What ``tip`` reaches and ``without`` does not, newest first."""
    known = {identity for identity, _commit in walk(reader, [without])}
    return [identity for identity, _commit in walk(reader, [tip]) if identity not in known]


def commits_named(view: View, word: str, *, oldest_first: bool) -> list[CommitId]:
    """The version that a word names, or those of a range; an empty end of it is HEAD.

    Raises:
        RevisionNotFound: no such revision.
    """
    first, dots, last = word.partition("..")
    if not dots:
        return [resolve_commit(word, view.objects, view)]
    without, tip = (resolve_commit(name or "HEAD", view.objects, view) for name in (first, last))
    found = commits_between(view.objects, without, tip)
    return found[::-1] if oldest_first else found
