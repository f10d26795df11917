"""The history of a Git repository, with what DVC keeps outside of it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path

from mvc.errors import UserError
from mvc.fileio import FileIO, storage_errors
from mvc.history.treediff import MAX_FILES
from mvc.importing.contents import Absent, FileContent
from mvc.importing.git_history import GitHistory
from mvc.importing.version import Content, Digest, Item, Listing
from mvc.origins.dvc import (
    CONFIG_FOLDER,
    LOCK_FILE,
    MAX_FOLDER_BYTES,
    PIPELINE_FILE,
    Out,
    Outs,
    cache_paths,
    caches,
    is_dvc_file,
    read_folder,
    read_outs,
)
from mvc.origins.dvc_text import MAX_BYTES
from mvc.origins.git_objects import LINK, MODULE, TreeItem
from mvc.paths import shown

_SETTINGS = ("config", "config.local")


class DvcHistory(GitHistory):
    """As :class:`GitHistory`, and what ``.dvc`` files and ``dvc.lock`` name, out of the cache or of a remote
    that is a folder of this machine. These files themselves come too."""

    kind = "dvc"

    def __init__(
        self,
        io: FileIO,
        folder: Path,
        environment: Mapping[str, str],
        scratch: Callable[[], Path],
        branch: str | None = None,
    ) -> None:
        place = folder / CONFIG_FOLDER
        texts = [text for name in _SETTINGS if (text := _small_text(io, place / name)) is not None]
        self._caches = caches(texts, place)
        self._read: dict[tuple[str, str, str], Outs] = {}
        self._folders: dict[str, list[tuple[str, str]] | None] = {}
        self._found: dict[tuple[str, bool], Content] = {}
        super().__init__(io, folder, environment, scratch, branch)

    def listing(self, tree: str) -> Listing:
        """The files of a commit's tree, and DVC's."""
        flat = self.flat(tree)
        found = self.listed(flat)
        for path, entry in flat.items():
            if is_dvc_file(path) and entry.mode not in (LINK, MODULE):
                outs = self._outs(path, entry, flat)
                found.left_out += outs.left_out
                for out in outs.outs:
                    self._add(found, out)
        return found

    def _outs(self, path: str, entry: TreeItem, flat: Mapping[str, TreeItem]) -> Outs:
        pipeline = (
            flat.get(path.removesuffix(LOCK_FILE) + PIPELINE_FILE) if path.endswith(LOCK_FILE) else None
        )
        key = path, entry.id, "" if pipeline is None else pipeline.id
        if key not in self._read:
            data = self.objects.read(entry.id, "blob", MAX_BYTES)
            beside = None if pipeline is None else self.objects.read(pipeline.id, "blob", MAX_BYTES)
            self._read[key] = read_outs(path, data, beside)
        return self._read[key]

    def _add(self, found: Listing, out: Out) -> None:
        """Put a file, or a folder's files, in the place of whatever Git has there."""
        if not out.folder:
            found.files[out.path] = Item(self._content_of(out.md5, folder=False, legacy=out.legacy))
            return
        rows = self._folder(out)
        if rows is None:
            found.files[out.path] = Item(Absent(_what(out.md5, folder=True)))
            return
        for path, md5 in rows:
            found.files[f"{out.path}/{path}"] = Item(self._content_of(md5, folder=False, legacy=out.legacy))
        if len(found.files) > MAX_FILES:
            raise UserError(f"{shown(out.path)}: a version may hold {MAX_FILES:,} files")

    def _folder(self, out: Out) -> list[tuple[str, str]] | None:
        """The files of a folder; None where its list is missing."""
        if out.md5 not in self._folders:
            content = self._content_of(out.md5, folder=True, legacy=False)
            if content.missing() is not None:
                self._folders[out.md5] = None
            elif content.size > MAX_FOLDER_BYTES:
                raise UserError(f"{shown(out.path)}: the list of its files has {content.size:,} bytes")
            else:
                what = _what(out.md5, folder=True)
                with storage_errors(f"cannot read {what}"), content.opened("list") as source:
                    self._folders[out.md5] = read_folder(source.read(0, source.size))
        return self._folders[out.md5]

    def _content_of(self, md5: str, *, folder: bool, legacy: bool) -> Content:
        known = self._found.get((md5, folder))
        if known is None:
            known = self._found[md5, folder] = self._look_up(md5, folder=folder, legacy=legacy)
        return known

    def _look_up(self, md5: str, *, folder: bool, legacy: bool) -> Content:
        what = _what(md5, folder=folder)
        for cache in self._caches:
            for path in cache_paths(cache, md5, folder=folder):
                with storage_errors(f"cannot look at {what}"):
                    try:
                        size = self.io.stat(path).st_size
                    except OSError as error:
                        if error.errno in (errno.ENOENT, errno.ENOTDIR):
                            continue
                        raise
                digest = Digest("md5-dos2unix" if legacy else "md5", md5)
                inside = path.relative_to(cache).as_posix()
                return FileContent(self.io, cache, inside, size, what, ("md5", md5), digest)
        return Absent(what)


def _what(md5: str, *, folder: bool) -> str:
    return f"DVC object {md5}{'.dir' if folder else ''}"


def _small_text(io: FileIO, path: Path) -> str | None:
    """A text of settings; None where there is none."""
    with storage_errors(f"cannot read {path.name}"):
        try:
            fd = io.open_read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return io.read_at(fd, 1 << 20, 0).decode(errors="replace")
        finally:
            io.close(fd)
