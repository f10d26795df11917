"""What a commit would record."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.objectid import CommitId
from mvc.repo import Repository
from mvc.workspace import files_of, locked
from mvc.worktree.compare import WorkState


@dataclass(frozen=True, slots=True)
class Status:
    """The work tree against HEAD. ``branch`` is None when HEAD is detached, ``head`` before the first
    commit."""

    branch: str | None
    head: CommitId | None
    state: WorkState

    @property
    def clean(self) -> bool:
        """Whether a commit would find nothing new and nothing in its way."""
        return self.state.clean and not self.state.scan.refused


def status(repository: Repository) -> Status:
    """Compare the work tree with HEAD, reading only what changed since it was last looked at."""
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        head = view.head_commit()
        state = workspace.state(view, files_of(view, head), workspace.scan())
        workspace.remember(state.fresh)
        return Status(view.branch(), head, state)
