"""A version brought out of the store: as a folder, a tar archive or safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mvc.errors import UsageError
from mvc.exporting.archive import write_archive
from mvc.exporting.files import Exported, exported
from mvc.exporting.folder import write_folder
from mvc.exporting.output import OutputFile, Write
from mvc.exporting.weights_files import SUFFIX, write_weights
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.view import View


class Export(NamedTuple):
    """What was made: how many files of the version (for safetensors: tensors) it holds, their bytes, the
    files that it consists of, and files of the version that have no place in it."""

    made: tuple[Path, ...]
    items: int
    plain_bytes: int
    left_out: tuple[str, ...] = ()


def to_folder(io: FileIO, view: View, revision: str, folder: Path, monitor: Monitor) -> Export:
    """Lay the files of ``REV`` or ``REV:PATH`` out in a folder that is empty or missing.

    Raises:
        RevisionNotFound: there is no such version, folder or file.
        UserError: there is something in the folder.
        DamageError: a file cannot be had.
        StorageError: the disk refuses.
    """
    what, total = _started(view, revision, monitor)
    try:
        write_folder(io, view, what.files.values(), folder, monitor)
    finally:
        monitor.finish()
    return Export((folder,), len(what.files), total)


def to_archive(
    io: FileIO, view: View, revision: str, path: Path, monitor: Monitor, *, replace: bool = False
) -> Export:
    """Write the files of ``REV`` or ``REV:PATH`` as a tar archive.

    Raises:
        UserError: there is such a file, and ``replace`` is not set.
        RevisionNotFound, DamageError, StorageError: as :func:`to_folder`.
    """
    with OutputFile(io, path, replace=replace) as out:
        done = to_stream(view, revision, out.write, monitor)
        out.finish()
    return done._replace(made=(path,))


def to_stream(view: View, revision: str, write: Write, monitor: Monitor) -> Export:
    """Write that archive piece by piece, with bounded memory.

    Raises:
        RevisionNotFound, DamageError: as :func:`to_folder`; what was written then is no whole archive.
    """
    what, total = _started(view, revision, monitor)
    try:
        write_archive(view, what.files.values(), what.time, write, monitor)
    finally:
        monitor.finish()
    return Export((), len(what.files), total)


def to_safetensors(
    io: FileIO,
    view: View,
    revision: str,
    path: Path,
    monitor: Monitor,
    *,
    shard_bytes: int | None = None,
    replace: bool = False,
) -> Export:
    """Write the tensors of ``REV`` or ``REV:PATH`` as safetensors files.

    Raises:
        UsageError: the file's name does not end in ``.safetensors``.
        UserError: safetensors files cannot hold a tensor, there is none, or there is such a file.
        RevisionNotFound, DamageError, StorageError: as :func:`to_folder`.
    """
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        raise UsageError(
            f"{path.name} does not end in {SUFFIX}",
            hint="mvc export --format safetensors REV model.safetensors",
        )
    what, _total = _started(view, revision, monitor)
    try:
        done = write_weights(
            io, view, what.files.values(), path, monitor, shard_bytes=shard_bytes, replace=replace
        )
    finally:
        monitor.finish()
    return Export(done.files, done.tensors, done.plain_bytes, done.left_out)


def _started(view: View, revision: str, monitor: Monitor) -> tuple[Exported, int]:
    what = exported(view, revision)
    total = sum(file.read(view).size for file in what.files.values())
    monitor.start("export", total)
    return what, total
