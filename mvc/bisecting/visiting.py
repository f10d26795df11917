"""Goes from version to version as a bisection asks, and records each step with it: both, or neither."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.bisecting.state import Bisection, place_of, refs_of, same_state
from mvc.errors import RefMoved
from mvc.objectid import CommitId
from mvc.objects import Commit, Person, Timestamp
from mvc.switch import switch
from mvc.transaction import Transaction, Update
from mvc.underway.pending import refuse_pending
from mvc.view import View
from mvc.workspace import Workspace, files_of


@dataclass(frozen=True, slots=True)
class Visitor:
    """The work tree, locked for this process alone, and the transaction of one step."""

    workspace: Workspace
    tx: Transaction
    who: Person
    now: Timestamp

    def record(self, bisection: Bisection, target: str | CommitId | None) -> None:
        """Record a bisection and go to a commit or a branch; None: stay.

        Raises:
            WouldOverwrite: uncommitted work is in the way.
            ConflictError: a merge is under way.
            RefMoved: another command moved the bisection, the branch or HEAD meanwhile.
        """
        self._move(target, refs_of(self.tx.view, bisection, self._put, self.who, self.now))

    def visit(self, target: CommitId) -> None:
        """Go to a commit, and leave the bisection as it is; raises what :meth:`record` does."""
        self._move(target, {})

    def leave(self, target: str | CommitId) -> None:
        """End the bisection at a commit or a branch; raises what :meth:`record` does."""
        self._move(target, refs_of(self.tx.view, None, self._put, self.who, self.now))

    def _put(self, commit: Commit) -> CommitId:
        return self.tx.writer.put(CommitId, commit.to_bytes())

    def _move(self, target: str | CommitId | None, refs: dict[str, bytes | None]) -> None:
        planned = self.tx.view
        if target is not None:
            refuse_pending(planned, "HEAD cannot move")
        place = None if target is None else place_of(planned, target)

        def build(now: View) -> Update:
            same_state(planned, now)
            if target is not None:
                refuse_pending(now, "HEAD cannot move")
            if isinstance(target, str) and place_of(now, target) != place:
                raise RefMoved(f"{target} was moved by another command", hint="run this one again")
            return Update(refs=refs, head=target)

        if place is None:
            self.tx.publish(build)
        else:
            files = files_of(planned, place)
            switch(self.workspace, self.tx, files, build, force=None, everything=False)
