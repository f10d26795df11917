"""What a commit would record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mvc.fileio import storage_errors
from mvc.objectid import CommitId
from mvc.objects import TreeEntry
from mvc.repo import Repository, View
from mvc.weighing import Weigher
from mvc.workspace import Workspace, files_of, locked
from mvc.worktree.compare import WorkState


@dataclass(frozen=True, slots=True)
class Status:
    """The work tree against HEAD. ``branch`` is None when HEAD is detached, ``head`` before the first
    commit. ``same_weights`` maps modified files, and new ones, to the committed file (their own path, or a
    deleted one) whose weights they hold in other bytes."""

    branch: str | None
    head: CommitId | None
    state: WorkState
    same_weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether a commit would find nothing new and nothing in its way."""
        return self.state.clean and not self.state.scan.refused


def status(repository: Repository) -> Status:
    """Compare the work tree with HEAD, reading only what changed since it was last looked at."""
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        head = view.head_commit()
        files = files_of(view, head)
        state = workspace.state(view, files, workspace.scan())
        workspace.remember(state.fresh)
        return Status(view.branch(), head, state, dict(_same_weights(workspace, view, files, state)))


def _same_weights(
    workspace: Workspace, view: View, files: Mapping[str, TreeEntry], state: WorkState
) -> Iterator[tuple[str, str]]:
    weigher = Weigher(workspace.repository, view.objects)
    deleted = {path: files[path] for path in state.deleted}
    if not state.modified and not (state.added and deleted):
        return
    from mvc.describing import Describer  # a look at a clean work tree need not import all formats

    describer = Describer(workspace.io, workspace.root)
    for path in (*state.modified, *state.added):
        if path in files and state.certain.get(path) == files[path].id:
            continue  # only its mode is another one
        candidates = {path: files[path]} if path in files else deleted
        with storage_errors(f"cannot read {path}"):
            found = weigher.work_file_same_as(describer, workspace.io, workspace.root, path, candidates)
        if found is not None:
            yield path, found
