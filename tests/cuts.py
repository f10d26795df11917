"""Transfers cut at random: ``python -m tests.cuts`` (``make cuts``).

Pushes, fetches and clones between a repository and a real S3 server go through a proxy that counts bytes.
When a number of them drawn by lot has passed, the line is cut, or the client killed, or the server killed and
started again. The same command goes on until it is done. Then both sides must have every version with its
bytes and no damage, and what went over the line in all attempts is compared with an attempt that nothing cut.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mvc.backends import buckets
from mvc.backends.patience import Patience
from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops.clone import CloneRequest, clone
from mvc.repo import Repository
from mvc.sharing import stores
from mvc.sharing.fetching import FetchRequest, fetch
from mvc.sharing.pushing import PushRequest, push
from mvc.sharing.settings import Remote
from mvc.sharing.stores import create_store, open_store
from mvc.store import Store
from mvc.targets import targets
from mvc.upkeep.check import Checker
from tests import servers
from tests.counts import record
from tests.engine import ME, make_repository, now, snapshot
from tests.faultproxy import FaultProxy
from tests.make_files import finetuned, random_weights, safetensors_bytes
from tests.scenes import Content, Lost, Wrong, versions_of
from tests.servers import Server
from tests.tally import Tally

KINDS = ("push", "fetch", "clone")
CUTS = (*("line", "client") * 4, "line", "server")
"""By turns; a server takes long to come back."""
MOST = 1.05
"""Of what an attempt takes that nothing cuts, on the average."""

BRANCH = "main"
_ATTEMPTS = 20


class Scissors(FaultProxy):
    """A proxy that calls ``cut`` when so many bytes have passed, and is dead from then on until it is
    revived."""

    def __init__(self, upstream: int) -> None:
        super().__init__(upstream)
        self.left: int | None = None
        self.dead = False
        self.on_cut: Callable[[], object] = lambda: None

    @property
    def passed(self) -> int:
        """Bytes in both directions."""
        return self.sent + self.received

    def arm(self, after: int, on_cut: Callable[[], object]) -> None:
        """Cut after so many bytes more."""
        self.left, self.on_cut = self.passed + after, on_cut

    def revive(self) -> None:
        """Hand everything on again."""
        self.left, self.dead = None, False

    def _count(self, size: int, way: str) -> None:
        if self.dead:
            raise ConnectionError("the line is cut")
        super()._count(size, way)
        if self.left is not None and self.passed >= self.left:
            self.left, self.dead = None, True
            self.on_cut()
            self.cut()
            raise ConnectionError("the line is cut")


# --- the client, in a process of its own -------------------------------------------------------------------


def act(kind: str, folder: Path, address: str, environment: Mapping[str, str], told: Any) -> None:
    """One attempt; what came of it is sent through ``told``: an exit code, and what was said."""
    for module in (buckets, stores):
        module.Patience = partial(Patience, 2, 10, 0.3)  # type: ignore[misc, assignment]
    remote = Remote("origin", address)
    try:
        if kind == "clone":
            clone(
                FileIO(), address, folder, Monitor(), CloneRequest(), ME, now(),
                base=folder.parent, environment=environment,
            )  # fmt: skip
        else:
            repository = Repository.open(FileIO(), folder, Monitor(), environment=environment)
            if kind == "push":
                push(repository, remote, PushRequest(), ME, now())
            else:
                fetch(repository, remote, FetchRequest(), ME, now())
    except MvcError as error:
        told.send((error.exit_code, f"{error.message} | {error.hint}"))
    else:
        told.send((0, ""))


# --- one round ---------------------------------------------------------------------------------------------


@dataclass
class Range:
    """Where rounds take place: a server, a proxy before it, a repository, and a bucket that has it all."""

    server: Server
    folder: Path
    place: Path
    proxy: Scissors
    source: Path
    known: dict[str, Content]
    address: str
    needed: dict[str, int] = field(default_factory=dict)
    rounds: int = 0

    @property
    def direct(self) -> Mapping[str, str]:
        """The way to the server that nothing cuts."""
        return self.server.environment()

    def store(self, address: str) -> Store:
        """A store at the server."""
        return open_store(FileIO(), address, Monitor(), base=self.place, environment=self.direct)

    def new_store(self) -> str:
        """The address of an empty one."""
        address = self.server.address()
        create_store(
            FileIO(), address, Monitor(), base=self.place, environment=self.direct, branch=BRANCH
        )  # fmt: skip
        return address

    def start(self, kind: str, folder: Path, address: str) -> tuple[Any, Any]:
        """Begin an attempt; the process, and where it tells what came of it."""
        here, there = _context().Pipe(duplex=False)
        environment = dict(self.server.environment(port=self.proxy.port))
        process = _context().Process(target=act, args=(kind, folder, address, environment, there))
        process.start()
        there.close()
        return process, here

    def prepare(self, kind: str) -> tuple[Path, str]:
        """What an attempt begins with: a folder, and an address."""
        self.rounds += 1
        folder = self.place / f"{kind}-{self.rounds}"
        if kind == "push":
            shutil.copytree(self.source, folder, copy_function=_linked)
            return folder, self.new_store()
        if kind == "fetch":
            make_repository(folder)
        return folder, self.address

    def judge(self, kind: str, folder: Path, address: str) -> None:
        """Both sides have everything.

        Raises:
            Lost, Wrong: they have not.
        """
        sides: list[Store] = [Repository.open(FileIO(), folder, Monitor())]
        if kind == "push":
            sides.append(self.store(address))
        for side in sides:
            with side.reading() as view:
                names = {name for name, _value in view.refs.values()}
                wanted = targets(view)[0]
                report = Checker(view.backend, view.index, view.objects, wanted, lambda _count: None).full()
            if not names & {"refs/heads/main", "refs/remotes/origin/main"}:
                raise Lost(f"no branch is there, only {sorted(names)}")
            if report.damage:
                raise Wrong(f"fsck --full finds {report.damage}")
            found = _committed(side)
            if found != self.known:
                raise Lost(f"{len(found)} versions, not the {len(self.known)} that were committed")
        left = folder / ".mvc" / "transfers"
        if left.exists() and list(left.iterdir()):
            raise Wrong(f"what is left: {sorted(path.name for path in left.iterdir())}")


def _linked(source: str, target: str) -> None:
    """Packs are written once; anything else is copied."""
    os.link(source, target) if source.endswith(".pack") else shutil.copy2(source, target)


def _committed(store: Store) -> dict[str, Content]:
    """All versions but the empty folder, from which a clone's work tree comes."""
    return {tree: content for tree, content in versions_of(store).items() if content}


def uncut(there: Range, kind: str) -> int:
    """Bytes over the line of an attempt that nothing cuts."""
    folder, address = there.prepare(kind)
    before = there.proxy.passed
    process, told = there.start(kind, folder, address)
    code, said = told.recv()
    process.join()
    assert code == 0, said
    there.judge(kind, folder, address)
    shutil.rmtree(folder)
    return there.proxy.passed - before


def cut_once(there: Range, kind: str, how: str, rng: random.Random, tally: Tally) -> None:
    """One round: cut at a place drawn by lot, perhaps several times, and gone on with until it is done."""
    folder, address = there.prepare(kind)
    proxy, needed = there.proxy, there.needed[kind]
    begin, cuts = proxy.passed, 0
    places = [rng.randrange(needed)] + ([rng.randrange(needed)] if rng.random() < 0.25 else [])
    for attempt in range(_ATTEMPTS):
        process, told = there.start(kind, folder, address)
        if attempt < len(places):
            proxy.arm(places[attempt], partial(_strike, there.server, how, process.pid))
        try:
            code, said = told.recv()
        except EOFError:
            code, said = -signal.SIGKILL, "killed"
        process.join()
        was_cut = proxy.dead
        proxy.revive()
        if was_cut and how == "server":
            _restart(there)
        if code == 0:
            break
        if not was_cut:
            raise Wrong(f"exit code {code} though nothing was cut: {said}")
        cuts += 1
        if how == "client" and code != -signal.SIGKILL:
            raise AssertionError("the client was to be killed, and was not")
        if how != "client" and code != 3:
            raise Wrong(f"exit code {code}: {said}")
        if how != "client" and "kept" in said and "again" not in said:
            raise Wrong(f"nothing says how to go on: {said}")
        tally.counts["said what is kept"] += "arrived and are kept" in said
    else:
        raise Lost(f"not done after {_ATTEMPTS} attempts")
    there.judge(kind, folder, address)
    shutil.rmtree(folder)
    tally.counts["cuts"] += cuts
    tally.counts[f"{how} cut"] += cuts
    tally.counts[f"bytes of {kind}"] += proxy.passed - begin
    tally.counts[f"needed for {kind}"] += needed


def _strike(server: Server, how: str, client: int) -> None:
    if how == "client":
        os.kill(client, signal.SIGKILL)
    elif how == "server":
        server.processes[0].kill()


def _restart(there: Range) -> None:
    """The server anew, on the same ports and data."""
    old = there.server.processes[0]
    old.wait()
    with open(there.folder / "log", "ab") as log:
        there.server.processes[0] = servers._start(list(old.args), log)  # type: ignore[arg-type]
    servers._await(there.server.endpoint(), there.server.processes[0], there.folder / "log")
    for _attempt in range(100):  # it listens before it can write
        try:
            there.new_store()
        except MvcError:
            time.sleep(0.2)
            continue
        return
    raise AssertionError("the server does not come back")


# --- all rounds --------------------------------------------------------------------------------------------


@contextmanager
def set_up(server: Server, server_folder: Path, place: Path, elements: int) -> Iterator[Range]:
    """A repository of four versions with so many weights in each, and a bucket that has them too."""
    source = place / "source"
    repository = make_repository(source)
    rng = np.random.default_rng(11)
    shapes = {f"layer{n}": (elements // 8 // 64, 64) for n in range(8)}
    weights = random_weights(rng, shapes, "BF16")
    for number in range(4):
        (source / "model.safetensors").write_bytes(safetensors_bytes(weights))
        (source / "notes.txt").write_text(f"version {number}\n")
        snapshot(repository, f"version {number}")
        weights = random_weights(rng, shapes, "BF16") if number == 1 else finetuned(weights, rng, 0.01)
    repository.temporary.close()
    with Scissors(server.ports[0]) as proxy:
        there = Range(server, server_folder, place, proxy, source, {}, "")
        there.address = there.new_store()
        remote = Remote("origin", there.address)
        repository.environment = there.direct
        push(repository, remote, PushRequest(), ME, now())
        shutil.rmtree(source)
        make_again = place / "again"
        clone(
            FileIO(), there.address, make_again, Monitor(), CloneRequest(), ME, now(),
            base=place, environment=there.direct,
        )  # fmt: skip
        make_again.rename(source)
        there.known = _committed(Repository.open(FileIO(), source, Monitor()))
        for kind in KINDS:
            there.needed[kind] = uncut(there, kind)
        yield there


def rounds(there: Range, count: int, seed: int, *, minutes: float = 600, only: int | None = None) -> Tally:
    """So many rounds, of all kinds in turn, or as many as there is time for."""
    tally, end = Tally(), time.monotonic() + 60 * minutes
    for number in range(count) if only is None else [only]:
        kind, how = KINDS[number % len(KINDS)], CUTS[number // len(KINDS) % len(CUTS)]
        rng = random.Random(f"{seed}/{number}")
        with tally.judged(f"python -m tests.cuts --seed {seed} --number {number}  # {kind}, {how}"):
            cut_once(there, kind, how, rng, tally)
        tally.counts["rounds"] += 1
        if time.monotonic() > end:
            break
    return tally


def ratios(counts: Mapping[str, int]) -> dict[str, float]:
    """Bytes over the line, in all attempts, of those that one needs that nothing cuts; by kind."""
    return {
        kind: round(counts[f"bytes of {kind}"] / counts[f"needed for {kind}"], 4)
        for kind in KINDS
        if counts.get(f"needed for {kind}")
    }


def main(arguments: list[str]) -> int:
    """The long form; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.cuts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--elements", type=int, default=16 << 20, help="weights of each of the four versions")
    parser.add_argument("--minutes", type=float, default=600, help="stop after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="only this round")
    given = parser.parse_args(arguments)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mvc-cuts-") as folder:
        place = Path(folder)
        try:
            started = servers.started(place / "server")
            with started as server, set_up(server, place / "server", place, given.elements) as there:
                tally = rounds(there, given.rounds, given.seed, minutes=given.minutes, only=given.number)
                needed = dict(there.needed)
        except servers.Unavailable as reason:
            print(f"no server to cut the line to: {reason}", file=sys.stderr)
            return 1
    for again, text in tally.failures[:10]:
        print(f"\n{text}\n  again: {again}", file=sys.stderr)
    found = ratios(tally.counts)
    kept = Counter(
        {name: count for name, count in tally.counts.items() if " of " not in name and " for " not in name}
    )
    shown = {**dict.fromkeys(("lost", "wrong", "broken"), 0), **kept}
    shown.update({f"bytes of a {kind}, of an uncut one's": ratio for kind, ratio in found.items()})
    print(f"needed: {needed}; {shown}")
    if given.number is None:
        record("transfers cut at random", seconds=round(time.monotonic() - begin, 1), **shown)
    return 0 if tally.good and all(ratio <= MOST for ratio in found.values()) else 1


def _context() -> Any:
    """Clients begin as copies of a process that has imported everything and begun no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.scenes", "mvc.ops.clone"])
    return context


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
