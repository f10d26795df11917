"""The one tree of failures; each carries a hint and an exit code.

::

    MvcError                     70  a bug in mvc, unless a subclass says otherwise
    ├── AnswerIsNo                1  the question was answered, and the answer is no
    ├── UsageError                2  the command line makes no sense
    ├── UserError                 3  the user can mend it
    │   ├── RepositoryNotFound
    │   ├── RevisionNotFound
    │   ├── AmbiguousRevision
    │   ├── InvalidPath
    │   ├── InvalidName
    │   ├── ConfigError
    │   ├── UnsupportedFeature       a newer mvc wrote this
    │   ├── StorageError             disk full, permission, I/O
    │   ├── ObjectPurged             what was asked for left the store for good
    │   │   └── ObjectElsewhere      it was left with another store, and is not fetched now
    │   └── FileChanged              a work file changed while it was read
    ├── ConflictError             4  somebody else's change is in the way
    │   ├── RefMoved
    │   ├── RootMoved                a compare-and-swap lost; retried by its caller
    │   ├── WouldOverwrite
    │   └── Busy
    │       └── LeaseLost            another machine took this process for dead
    ├── DamageError               5  stored bytes are missing or wrong
    │   ├── ObjectMissing
    │   ├── CorruptObject
    │   └── CorruptFile
    └── Unfinished                6  the change is made and recorded; what follows it failed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MvcError(Exception):
    """Base of every failure that mvc reports.

    ``hint`` says in one line what to do next; empty when there is nothing to say. A traceback shows it below
    the message.
    """

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")


class AnswerIsNo(MvcError):
    """The question was answered, and the answer is no."""

    exit_code = 1


class UsageError(MvcError):
    """The command line, or a call of the library, makes no sense."""

    exit_code = 2


class UserError(MvcError):
    """Something that the user can mend."""

    exit_code = 3


class RepositoryNotFound(UserError):
    """No repository here or above."""


class RevisionNotFound(UserError):
    """No commit, tree or file has this name."""


class AmbiguousRevision(UserError):
    """A short id that fits more than one object."""


class InvalidPath(UserError):
    """A path that no repository may hold; see :mod:`mvc.paths`."""


class InvalidName(UserError):
    """A ref, metric or parameter name that is not allowed."""


class ConfigError(UserError):
    """A configuration file that cannot be read or a key that does not exist."""


class UnsupportedFeature(UserError):
    """Bytes written by a newer mvc, with a part that must be understood and is not."""


class StorageError(UserError):
    """The disk or the store refused: full, not permitted, I/O error."""


class ObjectPurged(UserError):
    """An object that was purged: it is gone on purpose, and may not come back."""


class ObjectElsewhere(ObjectPurged):
    """An object that was left with another store, and that whoever reads now will not fetch for this.

    Handled as what was purged, because it is not here on purpose.
    """


def refused(path: str, error: ObjectPurged) -> ObjectPurged:
    """That a file is not stored, since something of it was purged."""
    return ObjectPurged(
        f"{path} is not stored: {error.message}", hint=f"list it in .mvcignore, or remove it; {error.hint}"
    )


class FileChanged(UserError):
    """A work file kept changing while it was read."""


class ConflictError(MvcError):
    """Somebody else's change is in the way."""

    exit_code = 4


class RefMoved(ConflictError):
    """A branch or tag no longer points where the caller believed."""


class RootMoved(ConflictError):
    """The root was replaced by somebody else between read and swap.

    ``perhaps_done``: the swap may have taken place before that, its reply lost. Only root's own history can
    tell, and until it did nothing that the new root names may be deleted.
    """

    perhaps_done = False


class WouldOverwrite(ConflictError):
    """Uncommitted work is in the way."""


class Busy(ConflictError):
    """Another mvc process holds what is needed."""


class TakenForGarbage(Busy):
    """A collection took for garbage what was put, or found, and not yet named: the same again puts what is
    gone."""


class LeaseLost(Busy):
    """Another machine took this process for dead, because it stood still for longer than its lease."""


class DamageError(MvcError):
    """Stored bytes are missing or wrong."""

    exit_code = 5


class ObjectMissing(DamageError):
    """No record of an object that something refers to."""


class CorruptObject(DamageError):
    """A record or object whose bytes do not fit its checksum, id or form."""


class CorruptFile(DamageError):
    """A file of the repository (root, segment, pack, piece) with wrong bytes."""


class Unfinished(MvcError):
    """The change is made and recorded, and what follows it failed: nothing is to be done again.

    ``operation`` is the id of the operation that the log has for it, in hexadecimal.
    """

    exit_code = 6

    def __init__(self, message: str, *, hint: str = "", operation: str = "") -> None:
        super().__init__(message, hint=hint)
        self.operation = operation


@contextmanager
def damage_in(what: str) -> Iterator[None]:
    """Have damage to objects that is met here begin its message with ``what``, a file for example: ids alone
    do not tell anybody what is lost."""
    try:
        yield
    except (ObjectMissing, CorruptObject) as error:
        raise type(error)(f"{what}: {error.message}", hint=error.hint) from error
