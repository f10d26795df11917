"""Runs a reader of hostile bytes in a process of its own, which sees one view and can open nothing.

For encodings that only a C library can read. The reader is a script of this package. Its one descriptor is a
socket, over which it asks for bytes of the view and gives one answer; it limits itself before it asks for the
first byte (see ``hdf5_reader.confine``), and this side limits what it can be made to do: time, bytes served
and bytes answered. What the answer says is the caller's to check, because the reader may be in the hands of
whoever wrote the file.

Messages of the reader: a kind (one byte), then two unsigned 64-bit big-endian integers. ``R`` offset length
asks for bytes, which come without a header; ``A`` 0 length gives the answer, which follows.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.views import spend

MESSAGE = struct.Struct("!cQQ")
"""How each message of a reader begins."""

_READ, _ANSWER = b"R", b"A"
_START_WORK = 6 << 20  # of starting a process, against reading a byte


@dataclass(frozen=True, slots=True)
class Limits:
    """What one reader may cost: seconds from start to answer, bytes per request, bytes served in all, bytes
    of its answer."""

    seconds: float = 60
    request_bytes: int = 1 << 20
    served_bytes: int = 256 << 20
    answer_bytes: int = 16 << 20


DEFAULT_LIMITS = Limits()


def command_of(script: Path, *arguments: str) -> list[str]:
    """The command that runs a reader in isolated mode: nothing from the environment or the current folder.

    Its first argument is the folder of packages that this process took ``msgpack`` from, so that the reader
    finds what is installed beside it, for one user only, for example, and nothing from anywhere else.
    """
    packages = Path(str(msgpack.__file__)).parent.parent
    return [sys.executable, "-I", "-B", str(script), str(packages), *arguments]


def ask(view: View, command: Sequence[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Run a reader on a view and return its answer.

    Raises:
        NotThisFormat: it died, hung, talked nonsense, or went beyond the limits; or the view is shorter than
        it says.
    """
    spend(view, _START_WORK)
    ours, theirs = socket.socketpair()
    with ours:
        try:
            with theirs:
                process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=os.sep,
                )
        except OSError as error:
            raise NotThisFormat(f"its reader cannot be started: {error.strerror}") from None
        with process:
            try:
                return _Served(ours, view, limits).answer()
            except TimeoutError:
                raise NotThisFormat(f"its reader took more than {limits.seconds:g} seconds") from None
            except (EOFError, ConnectionError):
                raise NotThisFormat(_death(process)) from None
            finally:
                process.kill()


def _death(process: subprocess.Popen[bytes]) -> str:
    """Why a reader that closed its socket is gone."""
    try:
        code = process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "its reader gave no answer"
    if code >= 0:
        return f"its reader ended with status {code}"
    if -code == signal.SIGXCPU:
        return "its reader used too much processor time"
    return f"its reader died of signal {-code}"


class _Served:
    """One conversation with a reader."""

    def __init__(self, channel: socket.socket, view: View, limits: Limits) -> None:
        self._channel = channel
        self._view = view
        self._limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._served = 0

    def answer(self) -> bytes:
        """Serve requests until the answer comes."""
        while True:
            kind, offset, length = MESSAGE.unpack(self._receive(MESSAGE.size))
            if kind == _READ:
                self._serve(offset, length)
            elif kind == _ANSWER and length <= self._limits.answer_bytes:
                return self._receive(length)
            elif kind == _ANSWER:
                raise NotThisFormat(f"its reader answers more than {self._limits.answer_bytes >> 20} MiB")
            else:
                raise NotThisFormat("its reader talks nonsense")

    def _serve(self, offset: int, length: int) -> None:
        if length > self._limits.request_bytes or offset + length > self._view.size:
            raise NotThisFormat("its reader talks nonsense")
        self._served += length
        if self._served > self._limits.served_bytes:
            raise NotThisFormat(f"reading it takes more than {self._limits.served_bytes >> 20} MiB of it")
        data = self._view.read(offset, length)
        self._wait_at_most()
        self._channel.sendall(data)

    def _receive(self, length: int) -> bytes:
        buffer = bytearray()
        while len(buffer) < length:
            self._wait_at_most()
            piece = self._channel.recv(min(length - len(buffer), 1 << 20))
            if not piece:
                raise EOFError
            buffer += piece
        return bytes(buffer)

    def _wait_at_most(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._channel.settimeout(remaining)
