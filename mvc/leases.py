"""Locks between processes of several machines: files of a shared folder, held by those who are alive.

A lock is a row of numbered files ``shared/NAME.N``; the highest counts. Its content is the token of its
holder (:mod:`mvc.presence`) or says that it is free. To take a lock that is free, or whose holder is dead, is
to create the next number: a step that only one can win, and a number never comes twice, so nobody can break
the lock of somebody else than he judged. Who holds a lock together with others has a file
``shared/NAME.with.TOKEN.N``: it is there before its owner looks whether somebody holds the lock alone, and
who wants it alone takes it first and then waits until no such file of a living process is left.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

from mvc.errors import LeaseLost
from mvc.fileio import FileIO, write_all, write_all_at
from mvc.presence import LEASE_SECONDS, Machine, Presence, Watch

_FREE = b"free".ljust(12)
_WITH = re.compile(r"with\.([0-9a-f]{12})\.([0-9]+)")
_TURN = re.compile(r"[0-9]{1,18}")
_TOKEN = re.compile(rb"[0-9a-f]{12}")
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.5


class Lease:
    """A lock that is held; made by :meth:`Leases.take`."""

    def __init__(self, io: FileIO, presence: Presence, path: Path, handle: int, *, alone: bool) -> None:
        self.path = path
        self._presence = presence  # kept alive as long as the lock is
        self._io = io
        self._handle = handle
        self._alone = alone

    def release(self) -> None:
        """Let others have it. In a forked child it stays its parent's."""
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        with suppress(OSError):  # held until we are gone, then
            if self._alone:
                write_all_at(self._io, handle, _FREE, 0)
                self._io.sync(handle)
            else:
                self._io.unlink(self.path)
        with suppress(OSError):
            self._io.close(handle)


class Leases:
    """The locks of one shared store, as this process takes them. ``folder`` must exist."""

    def __init__(
        self, io: FileIO, folder: Path, machine: Machine | None = None, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._io = io
        self._folder = folder
        self._machine = machine or Machine.this(io)
        self._seconds = lease_seconds
        self._presence: Presence | None = None
        self.watch = Watch(io, folder, self._machine)
        self._given = 0
        self._lost = False
        self._guard = threading.Lock()

    @property
    def presence(self) -> Presence:
        """This process's; a forked child gets its own."""
        with self._guard:
            if self._presence is None or self._presence.process != os.getpid():
                self._presence = Presence(self._io, self._folder, self._machine, self._seconds)
            return self._presence

    def close(self) -> None:
        """Say that this process has left; what it still holds is free."""
        if self._presence is not None:
            self._presence.close()
            self._presence = None

    def check(self) -> None:
        """Make sure that nobody took this process for dead. Once somebody did, that stays so until something
        new is begun (:meth:`new_id`).

        Raises:
            LeaseLost: somebody did.
        """
        if self._presence is None:
            return
        try:
            self._presence.check()
        except LeaseLost:
            self._lost = True
            raise

    # --- files that are their owner's, by their names -----------------------------------------------------
    def new_id(self) -> str:
        """16 hexadecimal digits for a file's name, of which the first 12 tell whose it is."""
        with self._guard:
            self._given += 1
            if self._lost and self._presence is not None:
                self._presence.close()
                self._presence = None
            self._lost = False
        return f"{self.presence.token}{self._given & 0xFFFF:04x}"

    def is_ours(self, identity: str) -> bool:
        """Whether a file with such an id in its name still is this process's."""
        return self._presence is not None and identity[:12] == self._presence.token

    def is_dead(self, identity: str) -> bool:
        """Whether the owner of a file with such an id in its name is gone."""
        token = identity[:12]
        if self._presence is not None and token == self._presence.token:
            return False
        return self.watch.is_dead(token)

    def settle(self) -> list[str]:
        """Watch processes of other machines until each has shown that it lives, or is buried; returns who
        lives. Takes a lease at most."""
        own = None if self._presence is None else self._presence.token
        waiting = [token for token in self.watch.others(own) if not self.watch.is_dead(token)]
        living = [token for token in waiting if not self.watch.is_watched(token)]
        waiting = [token for token in waiting if token not in living]
        while waiting:
            beating = [token for token in waiting if self.watch.beats(token)]
            living += beating
            waiting = [token for token in waiting if token not in beating and not self.watch.is_dead(token)]
            if waiting:
                time.sleep(_LONGEST_WAIT / 5)
        return living

    # --- locks --------------------------------------------------------------------------------------------
    def take(self, name: str, *, exclusive: bool, wait: bool) -> Lease | None:
        """A lock, alone or with others; without ``wait`` None where it is held.

        Raises:
            OSError: the folder refuses.
        """
        pause = _FIRST_WAIT
        while True:
            lease = self._take_alone(name, wait) if exclusive else self._take_with_others(name)
            if lease is not None or not wait:
                return lease
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 1.5, _LONGEST_WAIT)

    def _take_alone(self, name: str, wait: bool) -> Lease | None:
        turns, _ = self._list(name)
        if turns and self._holder(name, turns[-1]) is not None:
            return None
        lease = self._next_turn(name, turns[-1] + 1 if turns else 1)
        if lease is None:
            return None
        pause = _FIRST_WAIT
        try:
            while self._others_with(name):
                if not wait:
                    lease.release()
                    return None
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_WAIT)
        except BaseException:
            lease.release()
            raise
        return lease

    def _next_turn(self, name: str, turn: int) -> Lease | None:
        presence = self.presence
        path = self._folder / f"{name}.{turn}"
        try:
            handle = self._io.create(path)
        except FileExistsError:
            return None
        lease = Lease(self._io, presence, path, handle, alone=True)
        try:
            write_all(self._io, handle, presence.token.encode())
            self._io.sync(handle)
            turns, _ = self._list(name)
        except BaseException:
            lease.release()
            raise
        if turns[-1:] != [turn]:
            # We were so slow that this number had come and gone; it never meant anything.
            with suppress(OSError):
                self._io.unlink(path)
            with suppress(OSError):
                self._io.close(handle)
            return None
        for earlier in turns[:-1]:
            with suppress(FileNotFoundError):
                self._io.unlink(self._folder / f"{name}.{earlier}")
        return lease

    def _take_with_others(self, name: str) -> Lease | None:
        presence = self.presence
        with self._guard:
            self._given += 1
            path = self._folder / f"{name}.with.{presence.token}.{self._given}"
        lease = Lease(self._io, presence, path, self._io.create(path), alone=False)
        try:
            turns, _ = self._list(name)
            held = bool(turns) and self._holder(name, turns[-1]) is not None
            self._others_with(name)  # so that the files of dead ones go
        except BaseException:
            lease.release()
            raise
        if not held:
            return lease
        lease.release()
        return None

    def _others_with(self, name: str) -> bool:
        """Whether a living process holds a lock with others; files of dead ones go."""
        _, with_others = self._list(name)
        held = False
        for token, path in with_others:
            own = self._presence is not None and token == self._presence.token
            if own or not self.watch.is_dead(token):
                held = True
            else:
                with suppress(FileNotFoundError):
                    self._io.unlink(path)
        return held

    def _list(self, name: str) -> tuple[list[int], list[tuple[str, Path]]]:
        """The numbers of a lock, ascending, and the files of those who hold it together."""
        turns: list[int] = []
        with_others: list[tuple[str, Path]] = []
        for entry in self._io.scan_folder(self._folder):
            what = entry.name.removeprefix(f"{name}.")
            if what == entry.name:
                continue
            if _TURN.fullmatch(what):
                turns.append(int(what))
            elif match := _WITH.fullmatch(what):
                with_others.append((match.group(1), self._folder / entry.name))
        return sorted(turns), with_others

    def _holder(self, name: str, turn: int) -> str | None:
        """The token of the living process that holds a number; None where it is free."""
        path = self._folder / f"{name}.{turn}"
        try:
            handle = self._io.open_read(path, follow=False)
        except FileNotFoundError:
            return ""  # somebody has taken the next one just now
        try:
            text = self._io.read_at(handle, 64, 0)
        finally:
            self._io.close(handle)
        if text == _FREE:
            return None
        if not _TOKEN.fullmatch(text):
            # Created and not written yet, by whom nobody can tell: watched like a process that says nothing.
            return "" if not self.watch.is_unwritten_for_long(path) else None
        token = text.decode()
        if self._presence is not None and token == self._presence.token:
            return token
        return None if self.watch.is_dead(token) else token
