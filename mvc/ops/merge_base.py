"""Where lines of history meet."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.errors import UsageError
from mvc.history import ancestry
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.view import View


def merge_base(view: View, revisions: Sequence[str], *, octopus: bool = False) -> list[CommitId]:
    """The best common ancestors of the first revision and all others together, as if these were merged;
    with ``octopus`` those that all of them share. Newest first; none where histories are unrelated.

    Raises:
        UsageError: fewer than two revisions.
        RevisionNotFound: one names no commit.
    """
    if len(revisions) < 2:
        raise UsageError("a merge base takes two revisions or more", hint="mvc merge-base main topic")
    first, *others = (resolve_commit(text, view.objects, view) for text in revisions)
    if octopus:
        return ancestry.merge_bases_of_all(view.objects, [first, *others])
    return ancestry.merge_bases(view.objects, first, *others)


def is_ancestor(view: View, ancestor: str, descendant: str) -> bool:
    """Whether one revision is another or came before it.

    Raises:
        RevisionNotFound: one names no commit.
    """
    ends = (resolve_commit(text, view.objects, view) for text in (ancestor, descendant))
    return ancestry.is_ancestor(view.objects, *ends)
