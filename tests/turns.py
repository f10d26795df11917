"""Actors that take turns, one operation of a backend after the other, as a plan says.

Each actor runs in a thread of its own and stops before each operation until it is its turn. So every
interleaving of their operations can be tried, and one that fails comes again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mvc.backends.memory import MemoryBackend
from mvc.errors import RootMoved

PATIENCE = 30.0
"""Seconds after which an actor counts as hanging."""


class Killed(BaseException):
    """An actor that is to end here."""


class Actor:
    """One who acts; ``lost`` counts the replies that it is not to get from now on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.condition = threading.Condition()
        self.waiting = 0
        self.granted = 0
        self.finished = False
        self.killed = False
        self.lost = 0
        self.error: BaseException | None = None

    def step(self) -> None:
        """Wait for the next turn."""
        with self.condition:
            self.waiting += 1
            self.condition.notify_all()
            if not self.condition.wait_for(lambda: self.granted > 0, PATIENCE):
                raise AssertionError(f"{self.name} was forgotten")
            self.granted -= 1
            self.waiting -= 1
            if self.killed:
                raise Killed

    def grant(self) -> None:
        """Let it do one operation, and wait until it has."""
        with self.condition:
            if not self.condition.wait_for(lambda: self.waiting > 0 or self.finished, PATIENCE):
                raise AssertionError(f"{self.name} hangs")
            if self.finished:
                return
            self.granted += 1
            self.condition.notify_all()
            done = lambda: self.finished or (self.granted == 0 and self.waiting > 0)  # noqa: E731
            if not self.condition.wait_for(done, PATIENCE):
                raise AssertionError(f"{self.name} hangs")

    def run(self, act: Callable[[], None]) -> None:
        """Act, until the end or the kill."""
        try:
            act()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            with self.condition:
                self.finished = True
                self.condition.notify_all()


class Turns(MemoryBackend):
    """What one actor sees of a bucket that all share."""

    def __init__(self, shared: MemoryBackend, actor: Actor) -> None:
        super().__init__()
        self._objects = shared._objects
        self._lock = shared._lock
        self._actor = actor

    def get(self, key: str) -> bytes:
        self._actor.step()
        return super().get(key)

    def put(self, key: str, pieces: Sequence[Any]) -> bool:
        self._actor.step()
        return super().put(key, pieces)

    def list(self, prefix: str):
        self._actor.step()
        return super().list(prefix)

    def delete(self, key: str) -> None:
        self._actor.step()
        super().delete(key)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Compare and swap. A lost reply makes it ask what is there, as a bucket's client does."""
        self._actor.step()
        super().replace(key, expected, data)
        if self._actor.lost:
            self._actor.lost -= 1
            self._actor.step()
            if self._objects.get(key) != data:
                moved = RootMoved("somebody else was faster, before or after")
                moved.perhaps_done = True
                raise moved


def play(
    actors: dict[Actor, Callable[[], None]],
    plan: Iterable[tuple[int, int, str]],
) -> None:
    """Run all actors: each item of the plan names one by its number, how many turns it gets, and what happens
    to it first (``""``, ``"lose"`` its next reply from a swap, ``"kill"``). Afterwards each goes on to its
    end, in order. An error that an actor did not expect is raised."""
    order = list(actors)
    threads = [threading.Thread(target=actor.run, args=(act,), daemon=True) for actor, act in actors.items()]
    for thread in threads:
        thread.start()
    for number, turns, what in plan:
        actor = order[number % len(order)]
        if what == "lose":
            actor.lost = 1
        elif what == "kill":
            actor.killed = True
        for _turn in range(turns):
            actor.grant()
    for actor in order:
        while not actor.finished:
            actor.grant()
    for thread in threads:
        thread.join(PATIENCE)
    for actor in order:
        if actor.error is not None:
            raise actor.error
