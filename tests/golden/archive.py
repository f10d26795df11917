"""Freezes a repository as a golden one: an archive of its store, and what every version in it holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from mvc.repo import Repository
from tests.engine import snapshot, tree

Held = dict[str, dict[str, list]]
"""SHA-256 and executable bit of each file of each version, by commit id."""


def keep(held: Held, repository: Repository, message: str, **options) -> str:
    """Commit the work tree, and note what the version holds; returns its id."""
    identity = snapshot(repository, message, **options).id.hex()
    held[identity] = held_files(tree(repository.worktree))
    return identity


def held_files(files: dict[str, tuple[bytes, bool]]) -> dict[str, list]:
    """What is noted of the files of a version."""
    return {
        path: [hashlib.sha256(data).hexdigest(), executable] for path, (data, executable) in files.items()
    }


def freeze(repository: Repository, held: Held, place: Path, name: str) -> None:
    """Write ``name.tar.gz`` and ``name.json`` into the folder ``place``."""
    with repository.reading() as view:
        refs = {ref: value.hex() for ref, value in view.refs.values()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(repository.store.rglob("*")):
            inside = path.relative_to(repository.worktree)
            if inside.parts[1] in ("tmp", "intents", "index"):
                continue
            info = archive.gettarinfo(path, str(inside))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            if path.is_file():
                with path.open("rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
    (place / f"{name}.tar.gz").write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    text = json.dumps({"versions": held, "refs": refs}, indent=1, sort_keys=True, ensure_ascii=False)
    (place / f"{name}.json").write_text(text + "\n")
