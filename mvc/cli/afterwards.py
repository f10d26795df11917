"""What a command says that failed, or was interrupted, after its change was recorded; and what it says when
it is tried again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mvc.cli.call import Call
from mvc.errors import MvcError, RepositoryNotFound, Unfinished

NOT_TWICE = frozenset(
    {"bisect", "branch", "cherry-pick", "merge", "notes", "oplog", "reset", "revert", "tag", "undo"}
)
"""Commands that would go one step further, or refuse, if they were simply run again. A commit looks for
itself, and what only brings files back may be repeated."""

_NEW_BRANCH = frozenset({"-b", "-c", "--create", "--new-branch"})


@contextmanager
def told(call: Call, name: str, words: Sequence[str]) -> Iterator[None]:
    """Have failures behind a published change say that it is made.

    Raises:
        Unfinished: something failed behind it.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough; the command did what it was to do
    except KeyboardInterrupt:
        _note(call, name, words)
        for operation in call.published:
            from mvc.afterwards import said  # only where it happened

            sys.stderr.write(f"{said(operation)}\n")
        raise
    except Unfinished:
        _note(call, name, words)
        raise
    except Exception as error:
        if not call.published:
            raise
        from mvc.afterwards import FAILURES, unfinished  # only where it happened

        if not isinstance(error, FAILURES):
            raise
        known = unfinished(call.repository, call.published[-1], error)
        _note(call, name, words)
        raise known from error


def done_before(call: Call, name: str, words: Sequence[str]) -> bool:
    """Whether this very command line has done its work already and failed behind it; then that is said."""
    if name not in NOT_TWICE and not _NEW_BRANCH.intersection(words):
        return False
    try:
        repository = call.repository
    except (RepositoryNotFound, MvcError):
        return False  # which the command says better
    from mvc.afterwards import NOTE, forget, noted_words, said

    if not (repository.store / NOTE).exists():
        return False
    with repository.reading() as view:
        operation = noted_words(repository, view, _line(call, name, words))
    if operation is None:
        return False
    forget(repository)
    call.report(f"already done, by an earlier try: {said(operation)}")
    return True


def _note(call: Call, name: str, words: Sequence[str]) -> None:
    if call.published:
        from mvc.afterwards import note

        note(call.repository, call.published[-1], _line(call, name, words))


def _line(call: Call, name: str, words: Sequence[str]) -> str:
    return "\0".join([str(call.context.cwd), name, *words])
