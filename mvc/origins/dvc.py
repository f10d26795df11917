"""What DVC has in a file's place: ``.dvc`` files and ``dvc.lock``, folders as lists, and the caches that hold
the bytes."""

from __future__ import annotations

import configparser
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mvc.errors import UserError
from mvc.origins.dvc_text import parse

LOCK_FILE = "dvc.lock"
PIPELINE_FILE = "dvc.yaml"
SUFFIX = ".dvc"
CONFIG_FOLDER = ".dvc"

MAX_FOLDER_BYTES = 256 << 20
"""Of a list of a folder's files."""

_MD5 = re.compile(r"[0-9a-f]{32}")
_FOLDER = ".dir"


class Out(NamedTuple):
    """A file or folder that DVC keeps: its path in the repository, and the MD5 of its bytes or of its list.
    ``legacy``: from before DVC 3, when line ends of texts did not count."""

    path: str
    md5: str
    folder: bool
    legacy: bool


class Outs(NamedTuple):
    """What a file of DVC names, and what of it cannot be had, as (path, why)."""

    outs: list[Out]
    left_out: list[tuple[str, str]]


def is_dvc_file(path: str) -> bool:
    """Whether a path is that of a file that names outs."""
    name = path.rpartition("/")[2]
    return name == LOCK_FILE or (name.endswith(SUFFIX) and name != SUFFIX)


def read_outs(path: str, data: bytes, pipeline: bytes | None = None) -> Outs:
    """The outs that the file at a repository path names. ``pipeline`` is the ``dvc.yaml`` beside a
    ``dvc.lock``, which says in which folder a stage works.

    Raises:
        UserError: it cannot be read.
    """
    folder, _, name = path.rpartition("/")
    value = _parsed(path, data)
    found = Outs([], [])
    if name != LOCK_FILE:
        _collect(_map(value, path), folder, path, found)
        return found
    stages = value.get("stages", value) if isinstance(value, dict) else None
    places = (
        {} if pipeline is None else _work_folders(_parsed(f"{folder}/{PIPELINE_FILE}".lstrip("/"), pipeline))
    )
    for stage, body in _map(stages, path).items():
        if isinstance(body, dict):
            # stages that a template made are called NAME@ITEM
            place = places.get(stage, places.get(stage.partition("@")[0], ""))
            _collect({**body, "wdir": place}, folder, path, found)
    return found


def read_folder(data: bytes) -> list[tuple[str, str]]:
    """The files of a folder: path inside of it, and MD5.

    Raises:
        UserError: it is no such list.
    """
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        rows = None
    found = []
    for row in rows if isinstance(rows, list) else [None]:
        path, md5 = (row.get("relpath"), row.get("md5")) if isinstance(row, dict) else (None, None)
        if not isinstance(path, str) or not isinstance(md5, str) or not _MD5.fullmatch(md5):
            raise UserError(
                "a list of a folder's files in the cache is damaged", hint="run 'dvc fetch' there"
            )
        found.append((path, md5))
    return found


def cache_paths(cache: Path, md5: str, *, folder: bool) -> Iterator[Path]:
    """Where an object may lie in a cache or remote: since DVC 3, and before."""
    name = md5[2:] + (_FOLDER if folder else "")
    yield cache / "files" / "md5" / md5[:2] / name
    yield cache / md5[:2] / name


def caches(settings: Iterable[str], folder: Path) -> list[Path]:
    """Folders that may hold objects: the cache, and remotes that are folders of this machine. ``settings``
    are the texts of ``config`` and ``config.local`` in ``.dvc``, which is ``folder``."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    for text in settings:
        try:
            parser.read_string(text)
        except configparser.Error:
            raise UserError(f"{folder / 'config'} is damaged", hint="run 'dvc config --list' there") from None
    found = [parser.get("cache", "dir", fallback="cache")]
    for section in parser.sections():
        if section.strip("'").startswith("remote "):
            found.append(parser.get(section, "url", fallback=""))
    local = (url.removeprefix("file://") for url in found)
    return [folder / url for url in dict.fromkeys(local) if url and "://" not in url]


def dos2unix(data: bytes) -> bytes:
    """The bytes whose MD5 DVC took before version 3 for a text."""
    return data.replace(b"\r\n", b"\n")


def _parsed(path: str, data: bytes) -> Any:
    try:
        return parse(data)
    except UserError as error:
        raise UserError(f"{path!r} cannot be read: {error.message}") from None


def _map(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{path!r} cannot be read: it is no map")
    return value


def _work_folders(value: Any) -> dict[str, str]:
    stages = value.get("stages") if isinstance(value, dict) else None
    found = {}
    for name, body in stages.items() if isinstance(stages, dict) else ():
        place = body.get("wdir") if isinstance(body, dict) else None
        if isinstance(place, str):
            found[name] = place
    return found


def _collect(body: dict[str, Any], folder: str, path: str, found: Outs) -> None:
    outs = body.get("outs")
    if outs is None:
        return
    if not isinstance(outs, list) or not all(isinstance(item, dict) for item in outs):
        raise UserError(f"{path!r} cannot be read: its outs are in a form that mvc does not know")
    place = body.get("wdir") or ""
    for item in outs:
        name, md5 = item.get("path"), item.get("md5")
        if not isinstance(name, str):
            raise UserError(f"{path!r} cannot be read: an out has no path")
        where = posixpath.normpath(posixpath.join(folder, str(place), name))
        if "://" in name or where.startswith(("/", "../")) or where in (".", ".."):
            found.left_out.append((name, "lies outside of the repository"))
        elif "${" in str(place):
            found.left_out.append((name, f"lies in {place!r}, which a template names"))
        elif md5 is None:
            # cache: false, or not made yet: the file itself is in Git, or nowhere
            found.left_out.append((where, "has no MD5, so DVC does not keep it"))
        elif isinstance(md5, str) and _MD5.fullmatch(md5.removesuffix(_FOLDER)):
            kept = str(item.get("cache", "true")).lower() != "false"
            if kept:
                legacy = item.get("hash") is None
                found.outs.append(Out(where, md5.removesuffix(_FOLDER), md5.endswith(_FOLDER), legacy))
        else:
            raise UserError(f"{path!r} cannot be read: the MD5 of {name!r} is none")
