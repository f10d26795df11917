"""What the objects of one opened repository share: the repository, and its state as it was last read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mvc.errors import UserError
from mvc.repo import Repository
from mvc.store import FolderStore, Store
from mvc.view import View


class Session:
    """Reads a repository's state; what was read serves again as long as root is the same.

    ``keep``: decoded tensors stay in the repository's cache, because its owner made room for them.
    """

    def __init__(self, store: Store, *, keep: bool = False) -> None:
        self.store = store
        self.keep = keep
        self._view: View | None = None
        self._closed = False

    @property
    def repository(self) -> Repository:
        """The repository, for what needs its work tree.

        Raises:
            UserError: it is a store that was opened where it lies.
        """
        if not isinstance(self.store, Repository):
            raise UserError(
                "a shared store is only read where it lies: it has no work tree",
                hint="mvc clone makes a repository of it",
            )
        return self.store

    @contextmanager
    def reading(self) -> Iterator[View]:
        """The state now; what it leads to stays on disk until the block ends.

        Raises:
            UserError: the repository was closed.
        """
        self.check_open()
        with self.store.reading() as view:
            known = self._view
            if known is None or known.raw != view.raw:
                self._view = known = view
            yield known

    def check_open(self) -> None:
        """Refuse to go on with a repository that was closed."""
        if self._closed:
            raise UserError("this repository was closed", hint="open it again with mvc.Repo.open()")

    def close(self) -> None:
        """Let go of maps and memory, and leave nothing in the store's folder of temporary files."""
        self._closed = True
        self._view = None
        if isinstance(self.store, FolderStore):
            self.store.temporary.close()
            self.store.locks.close()
