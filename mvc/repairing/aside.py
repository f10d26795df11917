"""Damaged files leave their places and stay: what they hold may be the last copy of something."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mvc.errors import StorageError
from mvc.fileio import (
    NO_HARD_LINKS,
    FileIO,
    TemporaryNames,
    exists,
    make_folders,
    storage_errors,
    write_durable,
)
from mvc.upkeep.stock import DAMAGED


def copy_aside(io: FileIO, store: Path, names: TemporaryNames, keys: Iterable[str]) -> list[str]:
    """Give files of a store a second name in its folder of damaged ones, durable; returns those names. What
    is not there is passed over."""
    folder = store / DAMAGED
    made: list[str] = []
    with storage_errors("cannot put damaged files aside"):
        for key in keys:
            source = store / key
            if not exists(io, source):
                continue
            if not made:
                make_folders(io, folder)
            made.append(f"{DAMAGED}/{_second_name(io, source, folder, names)}")
        if made:
            io.sync_folder(folder)
    return made


def _second_name(io: FileIO, source: Path, folder: Path, names: TemporaryNames) -> str:
    """A name in the folder that the file has from now on, or had; another file of that name stays."""
    status = io.stat(source)
    for number in range(_MOST_NAMES):
        target = folder / f"{source.stem}{f'.{number}' if number else ''}{source.suffix}"
        if not exists(io, target):
            _give_name(io, source, target, names)
            return target.name
        there = io.stat(target)
        if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
            return target.name
    raise StorageError(f"too many damaged copies of {source.name}", hint=f"look through {folder}")


_MOST_NAMES = 1000


def _give_name(io: FileIO, source: Path, target: Path, names: TemporaryNames) -> None:
    try:
        io.link(source, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        fd = io.open_read(source, follow=False)
        try:
            data = io.read_at(fd, io.stat_handle(fd).st_size, 0)
        finally:
            io.close(fd)
        write_durable(io, names.new(), target, [data], replace=False)


def keep_bytes(io: FileIO, store: Path, names: TemporaryNames, name: str, data: bytes) -> str:
    """Put bytes into the folder of damaged files, durable; returns what they are called there."""
    with storage_errors("cannot put damaged files aside"):
        make_folders(io, store / DAMAGED)
        write_durable(io, names.new(), store / DAMAGED / name, [data], replace=False)
    return f"{DAMAGED}/{name}"


def remove(io: FileIO, store: Path, keys: Iterable[str]) -> None:
    """Take files that have a second name out of their places. One that stays is garbage."""
    with storage_errors("cannot put damaged files aside"):
        for key in keys:
            with suppress(FileNotFoundError):
                io.unlink(store / key)
