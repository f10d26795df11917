"""Small histories with branches, and the verbs that work on them, for the tests of what moves history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mvc.objectid import CommitId
from mvc.objects import Commit
from mvc.ops.commit import Request
from mvc.ops.merge import Choice, MergeRequest, MergeResult, conclude_merge
from mvc.ops.merge import merge as merge_verb
from mvc.ops.pick import Picking, pick
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.underway.pending import Pending, read_pending
from tests.engine import ME, make_repository, now, snapshot, switch_to, tree
from tests.make_files import safetensors_bytes

Files = Mapping[str, "bytes | str | None"]


def put(folder: Path, files: Files) -> None:
    """Write files, or remove those that are None."""
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def version(repository: Repository, files: Files, message: str = "version", **options: Any) -> CommitId:
    """Change files and commit."""
    put(repository.worktree, files)
    return snapshot(repository, message, **options).id


def fork(folder: Path, base: Files, ours: Files, theirs: Files) -> Repository:
    """Branches ``main`` (ours, checked out) and ``side`` (theirs) of one base."""
    repository = make_repository(folder)
    version(repository, base, "base")
    switch_to(repository, "HEAD", new_branch="side")
    version(repository, theirs, "theirs")
    switch_to(repository, "main")
    version(repository, ours, "ours")
    return repository


def request(message: str | None = None, **options: Any) -> Request:
    return Request(message, ME, now(), **options)


def merge(repository: Repository, revision: str = "side", **options: Any) -> MergeResult:
    made = options.pop("request", None) or request(options.pop("message", None))
    choice = options.pop("choice", None) or Choice(options.pop("strategy", None))
    return merge_verb(repository, MergeRequest(revision, made, choice, **options))


def go_on(repository: Repository, strategy: str | None = None, **options: Any) -> MergeResult:
    return conclude_merge(repository, request(**options), Choice(strategy))


def cherry_pick(repository: Repository, *revisions: str, commit: bool = True, **options: Any):
    return pick(repository, revisions, Picking("cherry-pick", **options), request(), commit=commit)


def revert(repository: Repository, *revisions: str, commit: bool = True, **options: Any):
    return pick(repository, revisions, Picking("revert", **options), request(), commit=commit)


def head(repository: Repository) -> tuple[CommitId, Commit]:
    with repository.reading() as view:
        identity = view.head_commit()
        assert identity is not None
        return identity, view.commit(identity)


def under_way(repository: Repository) -> Pending | None:
    with repository.reading() as view:
        return read_pending(view)


def everything(repository: Repository) -> tuple[Any, ...]:
    """HEAD, all refs with their values, and the work tree: what ``undo`` has to bring back."""
    with repository.reading() as view:
        return view.root.head, dict(view.refs.values()), tree(repository.worktree)


def assert_undone(repository: Repository, before: tuple[Any, ...], **options: Any) -> None:
    """The newest operation is taken back exactly."""
    undo(repository, ME, now(), **options)
    assert everything(repository) == before


def model(seed: int = 1, **moved: float) -> bytes:
    """A safetensors file of three tensors; those named have that added."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name in ("a", "b", "c"):
        values = rng.standard_normal((40, 10)).astype("<f4") + np.float32(moved.get(name, 0))
        tensors[name] = ("F32", (40, 10), values.astype("<f4").tobytes())
    return safetensors_bytes(tensors)


def values(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of such a file."""
    from safetensors.numpy import load

    return load(data)
