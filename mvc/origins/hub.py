"""A model in the Hugging Face cache: ``models--ORG--NAME`` has ``blobs``, ``refs``, ``snapshots``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mvc.errors import UserError
from mvc.fileio import FileIO, storage_errors

REVISION = re.compile(r"[0-9a-f]{40}")
MAX_REF_BYTES = 256

_KINDS = ("models", "datasets", "spaces")
_TAG = re.compile(r"[vV]?[0-9]+(?:[._][0-9A-Za-z]+)*(?:-[0-9A-Za-z.]+)?")
_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


class HubRef(NamedTuple):
    """A name that a revision was asked for by."""

    name: str
    revision: str

    @property
    def is_tag(self) -> bool:
        """Whether it is called as tags are (``v1.0``): the cache itself does not tell tags from branches."""
        return _TAG.fullmatch(self.name) is not None


def is_cache(folder: Path) -> bool:
    """Whether a folder is one model's."""
    return (folder / "snapshots").is_dir() and (folder / "blobs").is_dir()


def models(folder: Path) -> list[str]:
    """The models' folders in a whole cache."""
    return sorted(
        path.parent.name for path in folder.glob("*--*/snapshots") if path.parent.name.startswith(_KINDS)
    )


def address(folder: Path) -> str | None:
    """Where the model lies on the Hub; None where the folder's name does not say."""
    kind, *words = folder.name.split("--")
    if kind not in _KINDS or len(words) not in (1, 2) or not all(words):
        return None
    return "https://huggingface.co/" + ("" if kind == "models" else f"{kind}/") + "/".join(words)


def refs(io: FileIO, folder: Path) -> list[HubRef]:
    """The names in ``refs``, in order.

    Raises:
        UserError: one names no revision.
        StorageError: it cannot be read.
    """
    found: list[HubRef] = []
    with storage_errors("cannot read the cache's refs"):
        waiting = [""]
        while waiting:
            inner = waiting.pop()
            try:
                entries = io.scan_folder(folder / "refs" / inner)
            except FileNotFoundError:
                continue
            for entry in entries:
                name = f"{inner}/{entry.name}" if inner else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif entry.is_file(follow_symlinks=False):
                    fd = io.open_beneath(folder, f"refs/{name}")
                    try:
                        text = io.read_at(fd, MAX_REF_BYTES, 0).decode(errors="replace").strip()
                    finally:
                        io.close(fd)
                    if not REVISION.fullmatch(text):
                        raise UserError(
                            f"the cache's ref {name!r} names no revision", hint="download the model again"
                        )
                    found.append(HubRef(name, text))
    return sorted(found)


def digest_of(blob: str) -> tuple[str, str] | None:
    """What a blob's name says of its bytes: the SHA-256 of what git-lfs keeps, Git's id of other files."""
    if _SHA256.fullmatch(blob):
        return "sha256", blob
    return ("git", blob) if _GIT.fullmatch(blob) else None
