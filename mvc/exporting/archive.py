"""A version's files as a tar archive: the same bytes for the same version, on every machine."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import cast

from mvc.errors import damage_in
from mvc.exporting.files import File
from mvc.exporting.output import Write
from mvc.monitor import Monitor
from mvc.objects import Timestamp
from mvc.restore import file_pieces
from mvc.view import View

COPIED_BYTES = 1 << 20
"""Bytes of a file that are written at once."""


def write_archive(view: View, files: Iterable[File], time: Timestamp, write: Write, monitor: Monitor) -> None:
    """Write files in order of their paths, each checked against its SHA-256.

    POSIX.1-2001 (pax) format: regular files only, with the version's time, mode 644 or 755 and nobody as
    their owner. A failure leaves an archive without its end, as ``tar`` says too.

    Raises:
        DamageError: a file cannot be had.
        StorageError: what is written to refuses.
    """
    out = _Out(write)
    # not as a context: that would write the end of an archive that has none
    archive = tarfile.TarFile(
        fileobj=out,  # type: ignore[arg-type]
        mode="w",
        format=tarfile.PAX_FORMAT,
        encoding="utf-8",
        errors="strict",
        copybufsize=COPIED_BYTES,
    )
    for file in sorted(files):
        manifest = file.read(view)
        member = tarfile.TarInfo(file.path)
        member.size = manifest.size
        member.mtime = time.microseconds // 1_000_000
        member.mode = 0o755 if file.executable else 0o644
        pieces = cast(Generator[bytes, None, None], file_pieces(view.objects, manifest, verify=True))
        with damage_in(file.path), closing(pieces):
            source = _In(pieces, monitor)
            archive.addfile(member, source)  # type: ignore[arg-type]
            source.end()
    archive.close()


class _Out:
    """What :mod:`tarfile` writes to."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._at = 0

    def write(self, data: bytes) -> int:
        self._write(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at


class _In:
    """What :mod:`tarfile` reads from: pieces as they are decoded."""

    def __init__(self, pieces: Iterator[bytes], monitor: Monitor) -> None:
        self._pieces = pieces
        self._monitor = monitor
        self._left = b""

    def read(self, length: int) -> bytes:
        """So many bytes; fewer at the end."""
        found = [self._left]
        have = len(self._left)
        while have < length:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._monitor.advance(len(piece))
            found.append(piece)
            have += len(piece)
        data = b"".join(found)
        self._left = data[length:]
        return data[:length]

    def end(self) -> None:
        """Come to the end of the file, where its SHA-256 is checked."""
        for _piece in self._pieces:
            raise AssertionError("a file has more bytes than its manifest says")
