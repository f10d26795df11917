"""Says in 32 bytes what a file or folder holds, so that a version can tell which data it was made with.

A file's fingerprint is the BLAKE3-256 of its bytes, as ``b3sum`` prints it. A folder's is the BLAKE3-256 of
the canonical msgpack arrays ``[path, size, BLAKE3-256 of the bytes]``, one for each file below it, end to
end, in ascending order of the paths' bytes (docs/format.md, *Commit*).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from blake3 import blake3

from mvc import canonical
from mvc.errors import FileChanged, UserError
from mvc.fileio import FileIO, storage_errors
from mvc.lineage import Data
from mvc.monitor import Monitor
from mvc.paths import PRIVATE_NAMES, shown

BUFFER_BYTES = 4 << 20
MAX_NESTING = 256
"""Folders in one another: a tree of data may be deeper than one of a version, but not without end."""


def fingerprint(io: FileIO, path: Path, location: str, monitor: Monitor) -> Data:
    """Read a file or folder, of any size in bounded memory, and describe it as ``location``.

    ``path`` itself may be a symbolic link; those inside of a folder are not followed and, like devices and
    sockets, leave no trace in the fingerprint. The monitor hears how many there were.

    Raises:
        UserError: there is nothing of this name, or it is neither a file nor a folder.
        FileChanged: a file was written to while it was read.
        StorageError: something cannot be read.
    """
    with storage_errors(f"cannot read the data {shown(location)}"):
        try:
            fd = io.open_read(path)
        except FileNotFoundError:
            raise UserError(
                f"there is no data {shown(os.fspath(path))}",
                hint="data are a path or an address: NAME=PATH, NAME=scheme://…",
            ) from None
        try:
            mode, size = (status := io.stat_handle(fd)).st_mode, status.st_size
        finally:
            io.close(fd)
        if S_ISDIR(mode):
            return _folder(io, path, location, monitor)
        if not S_ISREG(mode):
            raise UserError(
                f"the data {shown(os.fspath(path))} are neither a file nor a folder",
                hint="name a file or folder, or an address (scheme://…)",
            )
        monitor.start(f"data {shown(location)}", size)
        read, digest = _file(io, path, location, monitor, bytearray(BUFFER_BYTES), follow=True)
        monitor.finish()
    return Data("file", location, size=read, blake3=digest)


def _folder(io: FileIO, path: Path, location: str, monitor: Monitor) -> Data:
    whole, buffer = blake3(), bytearray(BUFFER_BYTES)
    files = size = left_out = 0
    monitor.start(f"data {shown(location)}")
    for relative, is_file in _walk(io, path, location):
        if not is_file:
            left_out += 1
            continue
        count, digest = _file(io, path / relative, f"{location}/{relative}", monitor, buffer, follow=False)
        whole.update(canonical.pack([os.fsencode(relative), count, digest]))
        files, size = files + 1, size + count
    monitor.finish()
    if left_out:
        monitor.warn(
            f"data {shown(location)}: links and special files left out of its fingerprint: {left_out}"
        )
    return Data("folder", location, size=size, files=files, blake3=whole.digest())


def _walk(io: FileIO, top: Path, location: str) -> Iterator[tuple[str, bool]]:
    """Paths below a folder in ascending order of their bytes, and whether each is a file; folders are gone
    into."""
    # a stack of iterators: one folder's names at a time on each level, and no recursion
    stack = [_entries(io, top, "")]
    while stack:
        for relative, kind in stack[-1]:
            if kind == "folder":
                if len(stack) == MAX_NESTING:
                    raise UserError(f"folders are nested too deeply in the data {shown(location)}")
                stack.append(_entries(io, top / relative, relative + "/"))
                break
            yield relative, kind == "file"
        else:
            stack.pop()


def _entries(io: FileIO, folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    rows = []
    for entry in io.scan_folder(folder):
        # as in versions; with the store the fingerprint would change at each commit
        if entry.name in PRIVATE_NAMES:
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        kind = "folder" if is_folder else "file" if entry.is_file(follow_symlinks=False) else "other"
        # a folder sorts as its files do, so that the walk is in the order of whole paths
        rows.append((os.fsencode(entry.name) + (b"/" if is_folder else b""), prefix + entry.name, kind))
    return iter([(relative, kind) for _, relative, kind in sorted(rows)])


def _file(
    io: FileIO, path: Path, location: str, monitor: Monitor, buffer: bytearray, *, follow: bool
) -> tuple[int, bytes]:
    """Size and BLAKE3 of a file's bytes."""
    fd = io.open_read(path, follow=follow)
    try:
        before = io.stat_handle(fd)
        if not S_ISREG(before.st_mode):
            raise FileChanged(f"{shown(location)} is no longer a file", hint="run the command again")
        digest, position, view = blake3(), 0, memoryview(buffer)
        while count := io.read_into(fd, view, position):
            digest.update(view[:count])
            position += count
            monitor.advance(count)
            if position > before.st_size:  # it grows, perhaps without end, as files of /proc do
                break
        after = io.stat_handle(fd)
        if position != before.st_size or before.st_mtime_ns != after.st_mtime_ns:
            raise FileChanged(
                f"{shown(location)} changed while it was read", hint="wait until it is written, then commit"
            )
        return position, digest.digest()
    finally:
        io.close(fd)
