"""Tells revisions and paths apart where no ``--`` does."""

from __future__ import annotations

from mvc.cli.call import Call
from mvc.errors import InvalidPath, RevisionNotFound
from mvc.history.revisions import resolve_commit
from mvc.paths import is_below
from mvc.view import View
from mvc.workspace import files_of


def is_revision(view: View, word: str) -> bool:
    """Whether a word names a commit; ``HEAD`` counts before there is one."""
    if word in ("HEAD", "@"):
        return True
    try:
        resolve_commit(word, view.objects, view)
    except RevisionNotFound:
        return False
    return True


def names_files(call: Call, view: View, word: str) -> bool:
    """Whether a word names a file or folder of HEAD or of the work tree."""
    try:
        found = call.inside([word])
    except InvalidPath:
        return False
    if not found or (call.repository.worktree / found[0]).exists():
        return True
    return any(is_below(path, found[0]) for path in files_of(view, view.head_commit()))
