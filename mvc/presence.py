"""A process's proof of life in a store that several machines use: a small file that it keeps changing.

Kernel locks end with their holder, but between machines there is no kernel that sees both. So each process
that uses a shared store has one file ``shared/TOKEN.alive``, which a thread rewrites every few seconds; its
other files there carry the token in their names. Another machine takes it for dead only when it has itself
watched the file stay the same for the whole lease, by its own monotonic clock: no clock of two machines and
no time stamp of a file is ever compared. On the same machine, in the same namespace of processes, the
process number and the moment of its start decide at once.

Death is declared by a rename, which only one can win, and is final: whoever was only paused finds its file
gone (:meth:`Presence.check`) and stops. What a lease cannot promise: see docs/design/0025-locks.md.
"""

from __future__ import annotations

import os
import re
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mvc import canonical
from mvc.errors import CorruptObject, LeaseLost
from mvc.fileio import FileIO, storage_errors, write_all_at
from mvc.parallel import Repeating

LEASE_SECONDS = 30.0
"""How long a process's file must stay the same until others take it for dead."""

BEATS = 6
"""Times that the file changes in a lease."""

_SUFFIX = ".alive"
_NAME = re.compile(r"([0-9a-f]{12})\.alive")
_MOST_BYTES = 4096
_LEAST_LEASE, _MOST_LEASE = 0.1, 600.0


class Machine(NamedTuple):
    """Where a process runs: the host's name (for messages), its boot, its namespace of process numbers.

    Two processes of one boot and namespace can tell by number and start whether the other lives; an empty
    ``boot`` (no Linux) is never equal to another.
    """

    host: str
    boot: str
    namespace: str

    @classmethod
    def this(cls, io: FileIO) -> Machine:
        """The one that we run on."""
        boot = _text(io, Path("/proc/sys/kernel/random/boot_id")).strip()
        try:
            status = os.stat("/proc/self/ns/pid")
            namespace = f"{status.st_dev}:{status.st_ino}"
        except OSError:
            boot = namespace = ""
        return cls(os.uname().nodename, boot, namespace)

    def sees(self, other: Machine) -> bool:
        """Whether a process number means the same process in both."""
        return bool(self.boot) and (self.boot, self.namespace) == (other.boot, other.namespace)


class Presence:
    """This process in a shared store, from here to :meth:`close`. Its files carry :attr:`token`."""

    def __init__(
        self, io: FileIO, folder: Path, machine: Machine, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self.process = os.getpid()
        self._io = io
        self._folder = folder
        self._lease = lease_seconds
        self._beat = 0
        self._about: dict[str, Any] = {
            "boot": machine.boot,
            "host": machine.host,
            "lease": int(lease_seconds * 1000),
            "namespace": machine.namespace,
            "pid": self.process,
            "start": _start_of(io, self.process),
        }
        while True:
            self.token = os.urandom(6).hex()
            self._path = folder / (self.token + _SUFFIX)
            with suppress(FileExistsError):
                self._handle = io.create(self._path)
                break
        self._last = time.monotonic()
        self._renew()
        myself = weakref.ref(self)

        def beat() -> None:
            present = myself()
            if present is not None:
                with suppress(OSError):  # tried again soon; who relies on it asks check(), which tells
                    present._renew()

        self._repeating = Repeating(beat, lease_seconds / BEATS)
        # not through the IO layer: it may run when the interpreter ends
        self._closer = weakref.finalize(self, _end, self._repeating, self._handle, self._path, self.process)

    def check(self) -> None:
        """Make sure that nobody took us for dead; to be asked right before each step that matters.

        Raises:
            LeaseLost: somebody did, because this process stood still for longer than a lease.
            StorageError: the store does not answer.
        """
        with storage_errors("cannot tell other machines that this process lives"):
            if time.monotonic() - self._last > self._lease / 2:
                self._renew()
            # A listing, not a question for one name: network file systems answer those from a cache.
            present = any(entry.name == self._path.name for entry in self._io.scan_folder(self._folder))
        if not present:
            raise LeaseLost(
                "this process stood still for so long that another machine took it for dead",
                hint="nothing that it had not finished was done; run the command again",
            )

    def close(self) -> None:
        """Say that we are gone."""
        self._closer()

    def _renew(self) -> None:
        self._beat += 1
        text = canonical.pack({**self._about, "beat": self._beat.to_bytes(8, "little")})
        began = time.monotonic()
        write_all_at(self._io, self._handle, text, 0)
        self._io.sync(self._handle)
        self._last = began  # what others saw may be as old as that


def _end(repeating: Repeating, handle: int, path: Path, process: int) -> None:
    if process == os.getpid():
        repeating.stop()
        with suppress(OSError):  # others find out by watching
            path.unlink()
    with suppress(OSError):
        os.close(handle)


class Watch:
    """What this process has seen of the others in a shared store."""

    def __init__(self, io: FileIO, folder: Path, machine: Machine) -> None:
        self._io = io
        self._folder = folder
        self._machine = machine
        self._seen: dict[str, tuple[bytes, float]] = {}

    def is_dead(self, token: str) -> bool:
        """Whether the process of a token is gone, or has been dead for as long as this object has watched it;
        then its file is buried, so that it finds out if it was only paused.

        Raises:
            OSError: its file cannot be read.
        """
        path = self._folder / (token + _SUFFIX)
        text = self._read(path)
        if text is None:
            return True
        about = _parsed(text)
        if about is not None and self._machine.sees(
            Machine(about["host"], about["boot"], about["namespace"])
        ):
            if _start_of(self._io, about["pid"]) == about["start"]:
                return False
        elif not self._is_still(token, text, about):
            return False
        return self._bury(path, text)

    def others(self, own: str | None) -> Iterator[str]:
        """Tokens of all processes that said they are there."""
        for entry in self._io.scan_folder(self._folder):
            match = _NAME.fullmatch(entry.name)
            if match and match.group(1) != own:
                yield match.group(1)

    def is_watched(self, token: str) -> bool:
        """Whether only watching can tell if a process lives: it is not of this machine."""
        text = self._read(self._folder / (token + _SUFFIX))
        about = None if text is None else _parsed(text)
        return text is not None and not (about is not None and self._machine.sees(_machine(about)))

    def beats(self, token: str) -> bool:
        """Whether a process's file has changed since this object first looked at it."""
        text = self._read(self._folder / (token + _SUFFIX))
        seen = self._seen.get(token)
        return text is not None and seen is not None and seen[0] != text

    def is_unwritten_for_long(self, path: Path) -> bool:
        """Whether a file has stayed without sense for as long as this object has watched it."""
        return self._is_still(path.name, self._read(path) or b"", None)

    def name_of(self, token: str) -> str:
        """Who that is, for a message."""
        text = self._read(self._folder / (token + _SUFFIX))
        about = None if text is None else _parsed(text)
        return "another process" if about is None else f"process {about['pid']} on {about['host']}"

    def _is_still(self, token: str, text: bytes, about: dict[str, Any] | None) -> bool:
        now = time.monotonic()
        seen = self._seen.get(token)
        if seen is None or seen[0] != text:
            self._seen[token] = (text, now)
            return False
        lease = LEASE_SECONDS if about is None else about["lease"] / 1000
        return now - seen[1] >= min(max(lease, _LEAST_LEASE), _MOST_LEASE)

    def _bury(self, path: Path, text: bytes) -> bool:
        if self._read(path) not in (text, None):
            return False  # it has moved in this very moment
        grave = path.with_name(f"{path.name}.dead-{os.urandom(4).hex()}")
        try:
            self._io.replace(path, grave)
        except FileNotFoundError:
            return True
        with suppress(FileNotFoundError):
            self._io.unlink(grave)
        return True

    def _read(self, path: Path) -> bytes | None:
        """Opened anew each time: only that makes a network file system ask its server."""
        try:
            handle = self._io.open_read(path, follow=False)
        except FileNotFoundError:
            return None
        try:
            return self._io.read_at(handle, _MOST_BYTES, 0)
        finally:
            self._io.close(handle)


_FIELDS: dict[str, type] = {
    "boot": str,
    "host": str,
    "lease": int,
    "namespace": str,
    "pid": int,
    "start": str,
}


def _parsed(text: bytes) -> dict[str, Any] | None:
    """What a process says of itself; None where it has not said it to the end, or in a way not known here."""
    try:
        value = canonical.unpack(text, "a process's file")
    except CorruptObject:
        return None
    if not isinstance(value, dict) or any(type(value.get(key)) is not kind for key, kind in _FIELDS.items()):
        return None
    return value


def _machine(about: dict[str, Any]) -> Machine:
    return Machine(about["host"], about["boot"], about["namespace"])


def _start_of(io: FileIO, process: int) -> str:
    """When a process began, in ticks since boot: with its number it names a process for good. Empty where
    there is none. Source: proc_pid_stat(5), field 22."""
    text = _text(io, Path(f"/proc/{process}/stat"))
    fields = text.rpartition(")")[2].split()
    # a zombie is dead, though its parent has not asked yet
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _text(io: FileIO, path: Path) -> str:
    try:
        handle = io.open_read(path)
    except OSError:
        return ""  # no such file, or no such process
    try:
        return io.read_at(handle, _MOST_BYTES, 0).decode("utf-8", "replace")
    except ProcessLookupError:
        return ""
    finally:
        io.close(handle)
