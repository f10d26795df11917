"""A folder of checkpoints: each is a version, in the order of their numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from blake3 import blake3

from mvc.errors import UserError
from mvc.fileio import FileIO, storage_errors
from mvc.importing.contents import FileContent
from mvc.importing.version import Item, Listing, Name, Version
from mvc.objects import Number, Person, Timestamp
from mvc.origins.results import MAX_BYTES, READERS, metrics
from mvc.origins.series import Key, place
from mvc.paths import PRIVATE_NAMES, shown
from mvc.worktree.scan import WorkFile, scan

WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".hdf5", ".keras"),
    *(".npz", ".npy", ".tflite", ".pb", ".msgpack", ".pkl"),
)
"""Endings of files that hold weights: beside folders of checkpoints they are the run's last one."""

LAST: Key = (1 << 30, ())

_STAMP_BYTES = 16
_DATE = re.compile(r"(?<![0-9])((?:19|20)[0-9]{2})[-_.]?([01][0-9])[-_.]?([0-3][0-9])(?![0-9])")


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """One of them: files by their paths in the version; ``beneath`` is where ``WorkFile.path`` lies."""

    name: str
    beneath: Path
    files: Mapping[str, WorkFile]
    left_out: tuple[tuple[str, str], ...] = ()
    root: Path | None = None


class Checkpoints:
    """The checkpoints in a folder; see :class:`mvc.importing.version.Origin`.

    Where folders have a number (``checkpoint-500``) each of them is a version, and weights beside them are
    the last one. Else files whose names differ only in numbers are versions, under one name, and other files
    beside them belong to each. Else every folder is a version. ``dates_from_names`` reads the version's date
    from the checkpoint's name; otherwise it is that of its newest file.
    """

    kind = "folder"
    passed_over = 0

    def __init__(
        self, io: FileIO, folder: Path, author: Person, branch: str, *, dates_from_names: bool = False
    ) -> None:
        self._io = io
        self._folder = folder
        self._author = author
        self._dates_from_names = dates_from_names
        self.line: str | None = branch
        self.head: str | None = branch
        self._notes: list[str] = []
        self._all = self._find()

    def close(self) -> None:
        """Nothing is open."""

    def listing_of(self, name: str) -> Listing | None:
        """None: a known version has no other one on top that shares files with it by name and date."""
        return None

    def names(self) -> list[Name]:
        """None: all versions are on one line."""
        return []

    def notes(self) -> list[str]:
        """What is left out."""
        return self._notes

    def versions(self, known: Collection[str]) -> Iterator[Version]:
        """All checkpoints: one that is known may have changed."""
        for one in self._all:
            listing = Listing(left_out=list(one.left_out))
            for path, file in one.files.items():
                listing.files[path] = Item(self._content(one, file), file.executable)
            yield Version(
                one.name,
                None,
                self._author,
                self._date(one),
                one.name.removesuffix(Path(one.name).suffix) if one.root is None else one.name,
                lambda listing=listing: listing,  # type: ignore[misc]
                metrics=self._metrics(one),
                stamp=_stamp(one),
                root=one.root,
            )

    # --- which there are -----------------------------------------------------------------------------------
    def _find(self) -> list[_Checkpoint]:
        folders, files = self._top()
        placed = place(folders)
        if placed:
            found = [self._of_folder(one.name) for one in placed]
            others = sorted(set(folders) - {one.name for one in placed})
            if any(name.lower().endswith(WEIGHTS) for name in files):
                found.append(self._of_files(self._folder.name or "final", {name: name for name in files}))
            else:
                others += files
            self._leave_out(others)
        elif placed := place(files):
            found = list(self._series(files))
            self._leave_out(folders)
        else:
            found = sorted(
                filter(lambda one: one.files, map(self._of_folder, sorted(folders))),
                key=lambda one: (_newest(one), one.name),
            )
            self._leave_out(files)
        found = [one for one in found if one.files]
        if not found:
            raise UserError(
                f"{self._folder} has no checkpoints",
                hint="they are folders or files whose names have numbers, as checkpoint-500",
            )
        return found

    def _top(self) -> tuple[list[str], list[str]]:
        """Names of folders and plain files in the folder, hidden ones and links left out."""
        folders, files, links = [], [], []
        with storage_errors(f"cannot read {self._folder}"):
            for entry in self._io.scan_folder(self._folder):
                if entry.name in PRIVATE_NAMES or entry.name.startswith("."):
                    continue
                mode = entry.stat(follow_symlinks=False).st_mode
                if S_ISDIR(mode):
                    folders.append(entry.name)
                elif S_ISREG(mode):
                    files.append(entry.name)
                else:
                    links.append(entry.name)
        if links:
            # 'latest -> checkpoint-500' would be the same version twice
            self._notes.append(f"links and special files are left out: {_some(links)}")
        return sorted(folders), sorted(files)

    def _leave_out(self, names: list[str]) -> None:
        if names:
            self._notes.append(f"left out, as no part of a checkpoint: {_some(names)}")

    def _of_folder(self, name: str) -> _Checkpoint:
        root = self._folder / name
        found = scan(self._io, root)
        return _Checkpoint(name, root, found.files, (*found.refused, *found.skipped), root)

    def _of_files(self, name: str, paths: Mapping[str, str]) -> _Checkpoint:
        """A checkpoint of files of the folder itself, by what they are called in the version."""
        found = scan(self._io, self._folder, only=tuple(paths.values()))
        files = {path: found.files[own] for path, own in paths.items() if own in found.files}
        plain = all(path == own for path, own in paths.items())
        root = self._folder if plain else None
        return _Checkpoint(name, self._folder, files, (*found.refused, *found.skipped), root)

    def _series(self, names: list[str]) -> Iterator[_Checkpoint]:
        """Checkpoints of one file or a few each; what has no number belongs to all of them."""
        placed = place(names)
        shared = {name: name for name in names} | {one.name: "" for one in placed}
        shared = {name: own for name, own in shared.items() if own}
        groups: dict[Key, list[tuple[str, str]]] = {}
        for one in placed:
            groups.setdefault(one.key, []).append((one.name, one.path))
        for members in groups.values():
            paths = dict(shared)
            for name, path in members:
                paths[name if path in paths else path] = name
            yield self._of_files(
                min((name for name, _path in members), key=lambda name: (len(name), name)), paths
            )

    # --- what is known of one ------------------------------------------------------------------------------
    def _content(self, one: _Checkpoint, file: WorkFile) -> FileContent:
        place = file.link_target or file.path
        status = file.stat
        key = ("file", str(one.beneath / place), status.st_size, status.st_mtime_ns, status.st_ino)
        return FileContent(self._io, one.beneath, place, status.st_size, f"file {shown(str(place))}", key)

    def _date(self, one: _Checkpoint) -> Timestamp:
        if not self._dates_from_names:
            return Timestamp(_newest(one) // 1000, 0)
        match = _DATE.search(one.name)
        try:
            if match is None:
                raise ValueError("no digits of a date")
            day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
        except ValueError:
            raise UserError(
                f"the name {shown(one.name)} has no date in it",
                hint="a name with one is run-2025-08-25; else leave --date-from name out",
            ) from None
        return Timestamp(int(day.timestamp()) * 1_000_000, 0)

    def _metrics(self, one: _Checkpoint) -> dict[str, Number]:
        found: dict[str, Number] = {}
        for name in READERS:
            file = one.files.get(name)
            if file is None or file.stat.st_size > MAX_BYTES:
                continue
            with storage_errors(f"cannot read {name}"), self._content(one, file).opened(name) as source:
                found |= metrics(name, source.read(0, source.size))
        return found


def _newest(one: _Checkpoint) -> int:
    return max((file.stat.st_mtime_ns for file in one.files.values()), default=0)


def _stamp(one: _Checkpoint) -> bytes:
    rows = (
        f"{path}\0{file.stat.st_size}\0{file.stat.st_mtime_ns}\0{file.executable}"
        for path, file in sorted(one.files.items())
    )
    return blake3("\n".join(rows).encode("utf-8", "surrogateescape")).digest(_STAMP_BYTES)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(shown(name) for name in sorted(names)[:5]) + more
