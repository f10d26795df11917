"""Make a repository."""

from __future__ import annotations

from pathlib import Path

from mvc.errors import UserError
from mvc.fileio import FileIO, make_folders, storage_errors, write_durable
from mvc.monitor import Monitor
from mvc.repo import DEFAULT_BRANCH, STORE, Repository

SETTINGS = "mvc.toml"


def init(
    io: FileIO, folder: Path, monitor: Monitor, *, branch: str = DEFAULT_BRANCH, model: str | None = None
) -> Repository:
    """Make a repository in a folder, creating the folder where it is missing.

    ``model`` writes the model's name to ``mvc.toml`` in the work tree, unless that file exists.

    Raises:
        UserError: there is a repository already.
    """
    if STORE in folder.parts:
        raise UserError(f"{folder} is inside a repository's own store", hint="go to the folder of your model")
    with storage_errors("cannot create the folder"):
        make_folders(io, folder)
    repository = Repository.create(io, folder, monitor, branch=branch)
    if model is not None:
        _name_model(repository, model)
    return repository


def _name_model(repository: Repository, model: str) -> None:
    # 30 ms to import: only where something is written
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("What mvc knows of this model; versioned with it."))
    document["model"] = {"name": model}
    with storage_errors(f"cannot write {SETTINGS}"):
        write_durable(
            repository.io,
            repository.temporary.new(),
            repository.worktree / SETTINGS,
            [tomlkit.dumps(document).encode()],
            replace=False,
        )
