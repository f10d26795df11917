"""What the objects of one opened repository share: the repository, and its state as it was last read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mvc.errors import UserError
from mvc.repo import Repository
from mvc.view import View


class Session:
    """Reads a repository's state; what was read serves again as long as root is the same.

    ``keep``: decoded tensors stay in the repository's cache, because its owner made room for them.
    """

    def __init__(self, repository: Repository, *, keep: bool = False) -> None:
        self.repository = repository
        self.keep = keep
        self._view: View | None = None
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[View]:
        """The state now; what it leads to stays on disk until the block ends.

        Raises:
            UserError: the repository was closed.
        """
        self.check_open()
        with self.repository.reading() as view:
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
        self.repository.temporary.close()
        self.repository.locks.close()
