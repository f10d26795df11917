"""Which kind of source a folder is."""

from __future__ import annotations

from pathlib import Path

from mvc.errors import UserError
from mvc.origins import hub
from mvc.origins.dvc import CONFIG_FOLDER
from mvc.origins.git import Git

KINDS = ("folder", "git-lfs", "dvc", "huggingface")


def recognise(folder: Path, wanted: str | None) -> str:
    """The kind of a source: the ``wanted`` one, if the folder can be that.

    Raises:
        UserError: it is no folder, or not of the wanted kind; or a cache of several models.
    """
    if "://" in str(folder) or not folder.is_dir():
        raise UserError(
            f"{folder} is no folder", hint="clone or download it first: mvc import uses no network"
        )
    git = Git.is_repository(folder)
    if wanted in ("git-lfs", "dvc") and not git:
        raise UserError(f"{folder} is no Git repository", hint="name the folder that .git lies in")
    if wanted == "folder" or (wanted is not None and git and wanted != "huggingface"):
        return wanted
    if hub.is_cache(folder):
        return "huggingface"
    models = hub.models(folder)
    if models:
        raise UserError(
            f"{folder} holds {len(models)} models: {', '.join(models[:5])}{' …' if len(models) > 5 else ''}",
            hint=f"name one: {folder / models[0]}",
        )
    if wanted == "huggingface":
        raise UserError(
            f"{folder} is no model of a Hugging Face cache", hint="it has blobs, refs and snapshots"
        )
    if git:
        return "dvc" if (folder / CONFIG_FOLDER).is_dir() else "git-lfs"
    return "folder"
