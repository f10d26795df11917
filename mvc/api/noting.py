"""What is added to versions after they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvc.api.commits import metrics_of
from mvc.api.opened import Opened
from mvc.api.params import params_of
from mvc.errors import UsageError
from mvc.ops import notes as verb
from mvc.registry.notes import Note


class Noting(Opened):
    """Adds notes to versions and takes them away; :attr:`mvc.Revision.notes` reads them."""

    def add_note(
        self,
        revision: str = "HEAD",
        *,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        message: str = "",
        author: str | None = None,
    ) -> Note:
        """Add metrics and words to a version; its id stays as it is. Secrets in ``params`` are masked.

        Raises:
            UsageError: the note says nothing, or a value that cannot be recorded.
            RevisionNotFound: no such version.
        """
        if not isinstance(message, str):
            raise UsageError(f"a message is text, not a {type(message).__name__}")
        wording = verb.Wording(metrics_of(metrics or {}), params_of(params or {}), message)
        with self._acting() as (_who, now):
            return verb.add(self._repository, revision, wording, self._person(author), now)[1]

    def remove_notes(self, revision: str, note: str | None = None) -> tuple[Note, ...]:
        """Take a version's notes away, or the one of that id (its start will do); returns them.

        Raises:
            RevisionNotFound: no such version, or it has no such note.
        """
        with self._acting() as (who, now):
            return verb.remove(self._repository, revision, who, now, note=note)[1]
