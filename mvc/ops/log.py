"""History, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mvc.history.decorations import Decorations, Entry
from mvc.history.graph import walk
from mvc.history.revisions import resolve_commit
from mvc.repo import View


def log(view: View, revisions: Sequence[str] = (), *, limit: int | None = None) -> Iterator[Entry]:
    """Versions that the revisions (default: HEAD) reach, newest first.

    Raises:
        RevisionNotFound: no such revision, or no commit yet.
    """
    starts = [resolve_commit(text, view.objects, view) for text in revisions or ("HEAD",)]
    decorations = Decorations(view.refs)
    for number, (identity, commit) in enumerate(walk(view.objects, starts)):
        if limit is not None and number >= limit:
            return
        yield decorations.entry(identity, commit)
