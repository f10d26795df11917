"""What lies in the work tree and counts; what is refused or left out is named with the reason."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from mvc.fileio import FileIO, storage_errors
from mvc.ignore import IGNORE_FILE, IgnoreRules
from mvc.paths import collisions, path_fault, shown
from mvc.worktree.journal import Seen

MAX_IGNORE_FILE_BYTES = 64 << 10
"""Rules are tried one by one on every path, and they come with a clone."""

_ALL_MAY_READ = 0o444
_LINK_FAULTS = {
    errno.ENOENT: "is a link to nothing",
    errno.ENOTDIR: "is a link to nothing",
    errno.ELOOP: "is a link that leads back to itself",
}


@dataclass(frozen=True, slots=True)
class WorkFile:
    """A file to be committed.

    ``stat`` describes the content that will be read: for a link, that of its target. ``link_target`` is the
    path in the repository that a symbolic link ends at; the link is committed as that file's content.
    ``seen`` is what stands at the path itself: for a link, the link.
    """

    path: str
    stat: os.stat_result
    executable: bool
    seen: Seen
    link_target: str | None = None


@dataclass(slots=True)
class ScanResult:
    """What a walk found.

    ``files`` is sorted by path. ``refused`` and ``skipped`` hold paths with the reason, worded to follow
    the path (``is a socket``); the paths are as on disk, so they may hold anything: pass them through
    :func:`mvc.paths.shown`. A commit stores nothing while something is refused; what is skipped is only
    warned of. ``collisions`` are groups of paths that a caseless file system cannot hold side by side.
    """

    files: dict[str, WorkFile] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    collisions: list[list[str]] = field(default_factory=list)


def scan(io: FileIO, root: Path, *, only: Sequence[str] = ()) -> ScanResult:
    """Walk the work tree, in the order of the paths.

    ``only`` restricts the walk to these files and folders (repository paths); ignored ones stay ignored,
    and what does not exist is simply not in the result. A file or folder that vanishes during the walk
    counts as absent.

    Raises:
        StorageError: the root or an ignore file cannot be read, or the disk failed.
    """
    walk = _Walk(io, root, only)
    with storage_errors(f"reading the folder {root}"):
        top = io.open_beneath(root, "", folder=True)
        try:
            walk.folder(top, "", IgnoreRules(), everything=not only or "" in only)
        finally:
            io.close(top)
    walk.result.collisions = collisions(walk.result.files)
    return walk.result


class _Walk:
    def __init__(self, io: FileIO, root: Path, only: Sequence[str]) -> None:
        self.result = ScanResult()
        self._io = io
        self._root = root
        self._only = frozenset(only)
        self._above = {path[:at] for path in only for at in range(len(path)) if path[at] == "/"}
        self._rules: dict[str, IgnoreRules | None] = {}
        self._faulty_ignore_files: set[str] = set()

    def _on_disk(self, path: str) -> Path:
        return Path(f"{self._root}/{path}") if path else Path(self._root)

    def folder(self, handle: int, folder: str, rules: IgnoreRules, *, everything: bool) -> None:
        """Walk one folder; ``rules`` come from the folders above, ``everything`` is false above ``only``."""
        entries = self._list(handle, folder)
        if any(entry.name == IGNORE_FILE for _, entry in entries):
            rules = self._rules.get(folder) or self._with_file(rules, folder)
        self._rules[folder] = rules
        prefix = f"{folder}/" if folder else ""
        for key, entry in entries:
            path = prefix + entry.name
            is_folder = key[-1] == "/"
            selected = everything or path in self._only
            if not selected and not (is_folder and path in self._above):
                continue
            if rules.ignored(path, is_folder) or path in self._faulty_ignore_files:
                continue
            fault = path_fault(path)
            if fault:
                self.result.refused.append((path, fault))
            elif is_folder:
                self._enter(handle, path, rules, everything=selected)
            elif entry.is_symlink():
                self._link(path, entry)
            else:
                self._file(path, entry)

    def _enter(self, above: int, path: str, rules: IgnoreRules, *, everything: bool) -> None:
        """Walk a folder through the handle of the one above: a link that has taken its place is not
        followed."""
        try:
            handle = self._io.open_folder(path.rpartition("/")[2], folder=above)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno == errno.ELOOP:
                return
            if error.errno not in (errno.EACCES, errno.EPERM):
                raise
            self.result.skipped.append((path, "cannot be read (permission denied)"))
            return
        try:
            self.folder(handle, path, rules, everything=everything)
        finally:
            self._io.close(handle)

    def _list(self, handle: int, folder: str) -> list[tuple[str, os.DirEntry[str]]]:
        """Entries by sort key. A folder's key ends in a slash, which puts the walk in the order of paths."""
        try:
            entries = self._io.scan_folder(handle)
        except PermissionError:
            if not folder:
                raise
            self.result.skipped.append((folder, "cannot be read (permission denied)"))
            return []
        keyed = [(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in entries]
        keyed.sort(key=itemgetter(0))
        return keyed

    def _file(self, path: str, entry: os.DirEntry[str]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except PermissionError:
            self.result.skipped.append((path, "cannot be read (permission denied)"))
            return
        if not stat.S_ISREG(status.st_mode):
            self.result.skipped.append((path, f"is {_kind(status)}"))
        elif self._readable(path, path, status):
            self.result.files[path] = WorkFile(path, status, _executable(status), Seen.of(status))

    def _readable(self, path: str, real: str, status: os.stat_result) -> bool:
        """Try to open what not everybody may read; ``real`` is where the content of ``path`` lies."""
        if status.st_mode & _ALL_MAY_READ == _ALL_MAY_READ:
            return True
        try:
            self._io.close(self._io.open_beneath(self._root, real))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:
            self.result.skipped.append((path, "cannot be read (permission denied)"))
            return False
        return True

    def _link(self, path: str, entry: os.DirEntry[str]) -> None:
        """A link counts as the file that it ends at, if that is a file of this work tree."""
        try:
            seen = Seen.of(entry.stat(follow_symlinks=False))
            target = self._resolve(path)
            status = None if target is None else self._io.stat(self._on_disk(target))
        except PermissionError:
            self.result.skipped.append((path, "is a link to what cannot be read (permission denied)"))
            return
        except OSError as error:
            if error.errno not in _LINK_FAULTS:
                raise
            self.result.refused.append((path, _LINK_FAULTS[error.errno]))
            return
        if target is None or status is None:
            self.result.refused.append((path, "is a link that leads out of the work tree"))
        elif stat.S_ISDIR(status.st_mode):
            self.result.refused.append((path, "is a link to a folder"))
        elif self._is_ignored(target):
            self.result.refused.append((path, f"is a link to {shown(target)}, which is ignored"))
        elif fault := path_fault(target):
            self.result.refused.append((path, f"is a link to {shown(target)}, which {fault}"))
        elif not stat.S_ISREG(status.st_mode):
            self.result.skipped.append((path, f"is a link to {shown(target)}, which is {_kind(status)}"))
        elif self._readable(path, target, status):
            self.result.files[path] = WorkFile(path, status, _executable(status), seen, target)

    def _resolve(self, path: str) -> str | None:
        """The repository path at the end of a link, ``""`` for the root; None if it lies outside."""
        real = os.path.realpath(f"{self._root}/{path}", strict=True)
        root = os.path.realpath(self._root, strict=True)
        if real == root:
            return ""
        inside = real.removeprefix(root.rstrip("/") + "/")
        return None if inside == real else inside

    def _is_ignored(self, target: str) -> bool:
        rules = self._rules_in(target.rpartition("/")[0])
        return rules is None or rules.ignored(target, False)

    def _rules_in(self, folder: str) -> IgnoreRules | None:
        """The rules of a folder, which the walk need not have reached yet; None if it is ignored itself."""
        if folder not in self._rules:
            rules: IgnoreRules | None = IgnoreRules()
            if folder:
                rules = self._rules_in(folder.rpartition("/")[0])
                if rules is not None and rules.ignored(folder, True):
                    rules = None
            self._rules[folder] = None if rules is None else self._with_file(rules, folder)
        return self._rules[folder]

    def _with_file(self, rules: IgnoreRules, folder: str) -> IgnoreRules:
        """Rules with those of a folder's own ignore file, if it has one.

        One that is no plain file, or too large, is refused: going on without it could commit what it leaves
        out.
        """
        path = f"{folder}/{IGNORE_FILE}" if folder else IGNORE_FILE
        try:
            status = self._io.stat(self._on_disk(path))
        except FileNotFoundError:
            return rules
        text = b""
        fault = "must be a plain file, because it says what is ignored"
        if stat.S_ISREG(status.st_mode):
            text = self._read_start(path)
            fault = (
                f"is larger than {MAX_IGNORE_FILE_BYTES} bytes" if len(text) > MAX_IGNORE_FILE_BYTES else ""
            )
        if fault:
            self.result.refused.append((path, fault))
            self._faulty_ignore_files.add(path)
            return rules
        # As the names on disk are decoded, so that a rule can name a file that is not UTF-8.
        return rules.pushed(folder, text.decode("utf-8", "surrogateescape"))

    def _read_start(self, path: str) -> bytes:
        fd = self._io.open_beneath(self._root, path)
        try:
            return self._io.read_at(fd, MAX_IGNORE_FILE_BYTES + 1, 0)
        finally:
            self._io.close(fd)


def _executable(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IXUSR)


def _kind(status: os.stat_result) -> str:
    if stat.S_ISFIFO(status.st_mode):
        return "a named pipe"
    if stat.S_ISSOCK(status.st_mode):
        return "a socket"
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return "a device"
    return "no regular file"
