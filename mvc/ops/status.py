"""What a commit would record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mvc.bisecting.state import read_bisection
from mvc.fileio import storage_errors
from mvc.history.merge3 import Conflict
from mvc.history.reader import read_manifest
from mvc.objectid import CommitId, ManifestId
from mvc.objects import TreeEntry
from mvc.repo import Repository
from mvc.sharing.following import Standing, standing
from mvc.underway.pending import Pending, read_pending
from mvc.underway.unresolved import unresolved
from mvc.view import View
from mvc.weighing import Weigher
from mvc.workspace import Workspace, files_left, locked
from mvc.worktree.compare import WorkState
from mvc.worktree.recheck import same_content
from mvc.worktree.renames import renames


@dataclass(frozen=True, slots=True)
class Status:
    """The work tree against HEAD. ``branch`` is None when HEAD is detached, ``head`` before the first
    commit.

    ``renamed`` maps added files to the deleted ones whose bytes they have. ``same_weights`` maps modified
    files, and added ones, to the committed file (their own path, or any) whose weights they hold in other
    bytes; ``same_weights_together`` are those that hold the weights of all other deleted ones together.
    ``pending`` is what is under way, ``unresolved`` what of it is in conflict still.
    ``bisecting_from`` is where HEAD was before the bisection that is under way; ``standing`` how the branch
    stands to what it follows.
    """

    branch: str | None
    head: CommitId | None
    state: WorkState
    renamed: Mapping[str, str] = field(default_factory=dict)
    same_weights: Mapping[str, str] = field(default_factory=dict)
    same_weights_together: tuple[str, ...] = ()
    pending: Pending | None = None
    unresolved: tuple[Conflict, ...] = ()
    bisecting_from: str | CommitId | None = None
    standing: Standing | None = None

    @property
    def clean(self) -> bool:
        """Whether a commit would find nothing new, nothing in its way and nothing to conclude."""
        return self.state.clean and not self.state.scan.refused and self.pending is None


def status(repository: Repository) -> Status:
    """Compare the work tree with HEAD, reading only what changed since it was last looked at."""
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        head = view.head_commit()
        files = files_left(view, head)
        state = workspace.state(view, files, workspace.scan())
        workspace.remember(state.fresh)
        with storage_errors("cannot read the work tree"):
            moved = renames(workspace.io, workspace.root, state, files, view.manifests.manifest)
            same, together = _same_weights(workspace, view, files, state, moved)
        pending = read_pending(view)
        still = () if pending is None else unresolved(workspace, view, pending)
        bisection = read_bisection(view)
        start = None if bisection is None else bisection.head
        branch = view.branch()
        stands = None if branch is None else standing(view, repository.config(), branch)
        return Status(branch, head, state, moved, same, together, pending, still, start, stands)


def _same_weights(
    workspace: Workspace,
    view: View,
    files: Mapping[str, TreeEntry],
    state: WorkState,
    moved: Mapping[str, str],
) -> tuple[dict[str, str], tuple[str, ...]]:
    modified = [path for path in state.modified if state.certain.get(path) != files[path].id]  # not its mode
    added = [path for path in state.added if path not in moved]
    gone = set(state.deleted).difference(moved.values())
    if not modified and not (added and files):
        return {}, ()
    # a look at a clean work tree need not import all formats
    from mvc.describing import Describer
    from mvc.formats import NotThisFormat
    from mvc.same_weights import SameWeights, WorkFile

    weigher = Weigher(workspace.repository, view.objects)
    describer = Describer(workspace.io, workspace.root)
    found: dict[str, str] = {}
    left: list[WorkFile] = []
    # of two files with the same weights, the one that is gone is where they came from
    every = sorted(files.items(), key=lambda item: item[0] not in gone)
    committed = SameWeights(weigher, view.objects, dict(every))
    try:
        for path in modified:
            among = SameWeights(weigher, view.objects, {path: files[path]})
            file = WorkFile.describe(workspace.io, workspace.root, path, describer) if among else None
            if file is not None and among.of_file(file.spans, file.read) is not None:
                found[path] = path
        for path in added:
            file = WorkFile.describe(workspace.io, workspace.root, path, describer)
            other = committed.of_file(file.spans, file.read)
            if other is not None:
                if not _is_copy(workspace, view, path, files[other]):
                    found[path] = other
            elif file.spans:
                left.append(file)
        deleted = {path: files[path] for path in gone.difference(found.values())}
        together = SameWeights(weigher, view.objects, deleted).together_in(left)
    except (NotThisFormat, FileNotFoundError):
        return found, ()  # somebody writes to a file right now: of that one there is nothing to say
    return found, tuple(file.path for file in left) if together else ()


def _is_copy(workspace: Workspace, view: View, path: str, entry: TreeEntry) -> bool:
    """Whether a work file has a committed file's very bytes."""
    manifest = read_manifest(view.objects, ManifestId(entry.id))
    return same_content(workspace.io, workspace.root / path, manifest)
