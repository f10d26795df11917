"""What a commit would record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mvc.fileio import storage_errors
from mvc.history.reader import read_manifest
from mvc.objectid import CommitId, ManifestId
from mvc.objects import TreeEntry
from mvc.repo import Repository, View
from mvc.weighing import Weigher
from mvc.workspace import Workspace, files_of, locked
from mvc.worktree.compare import WorkState


@dataclass(frozen=True, slots=True)
class Status:
    """The work tree against HEAD. ``branch`` is None when HEAD is detached, ``head`` before the first
    commit. ``same_weights`` are the modified files that hold the same weights in other bytes."""

    branch: str | None
    head: CommitId | None
    state: WorkState
    same_weights: frozenset[str] = frozenset()

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
        return Status(view.branch(), head, state, frozenset(_same_weights(workspace, view, files, state)))


def _same_weights(
    workspace: Workspace, view: View, files: Mapping[str, TreeEntry], state: WorkState
) -> Iterator[str]:
    weigher = Weigher(workspace.repository, view.objects)
    for path in state.modified:
        identity = ManifestId(files[path].id)
        if state.certain.get(path) == identity:
            continue  # only its mode is another one
        manifest = read_manifest(view.objects, identity)
        if not manifest.tensors:
            continue
        from mvc.ingest import has_weights  # 60 ms, which a status without modified tensors need not pay

        with storage_errors(f"cannot read {path}"):
            found = weigher.digests(identity, manifest)
            if has_weights(workspace.io, workspace.root / path, path, manifest.tensors, found):
                yield path
