"""What every peer offers, and how it is run."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.timing import peak_memory

WORKERS = Path(__file__).resolve().parent / "workers"

Command = list[str]


@dataclass(frozen=True, slots=True)
class Tools:
    """Where peers lie that are Python packages: the folder of a virtual environment of their own."""

    venv: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    def lacks(self, *modules: str) -> str | None:
        """Why a package of that environment cannot be used, or None."""
        if not self.python.exists():
            return "no environment of peers (make peers)"
        for module in modules:
            look = f"import importlib.util as u; raise SystemExit(u.find_spec({module!r}) is None)"
            if subprocess.run([self.python, "-c", look], check=False).returncode:
                return f"{module} is not installed"
        return None

    def package_version(self, package: str) -> str:
        """A package's version."""
        look = f"from importlib.metadata import version; print(version({package!r}))"
        return told([str(self.python), "-c", look])


class PeerFailed(SystemExit):
    """A peer did not do what it was told; whoever does not expect that ends with its message."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What some commands took together: wall-clock seconds, and seconds of all cores.

    ``own_seconds`` are those that a session spent on its one thread that hands out the work, where it tells.
    """

    seconds: float
    cpu_seconds: float
    own_seconds: float = 0.0


class Peer(ABC):
    """A tool with a store in ``place``. A version is what lies in ``place/work/model``, in whatever files.

    A peer names commands; this class runs them in ``place/work`` with ``environment``, so that all peers are
    measured in the same way. ``stores`` False: it only reads (a hash), so there is nothing to restore or
    count. ``session`` is a process that takes ``commit N`` and ``checkout N`` line by line and answers with
    the seconds that each took, for what a peer does without its start-up; None where it has no such thing.
    """

    name: ClassVar[str]
    stores: ClassVar[bool] = True
    has_status: ClassVar[bool] = False

    def __init__(self, place: Path, tools: Tools) -> None:
        self.place = place
        self.tools = tools
        self.work = place / "work"
        self.model = self.work / "model"
        self.store = place / "store"
        self._clock = int(time.time()) - 100_000

    @classmethod
    @abstractmethod
    def missing(cls, tools: Tools) -> str | None:
        """Why it cannot be run here; None when it can."""

    @classmethod
    @abstractmethod
    def version(cls, tools: Tools) -> str:
        """The version of the tool."""

    @abstractmethod
    def begin(self) -> list[Command]:
        """Commands that make an empty store; the folders ``work`` and ``work/model`` are there."""

    @abstractmethod
    def commit(self, number: int) -> list[Command]:
        """Commands that store what lies in ``work/model`` as version ``number``."""

    def label(self, number: int) -> list[Command]:
        """Commands, not counted, that make it known by its number."""
        return []

    @abstractmethod
    def checkout(self, number: int) -> list[Command]:
        """Commands that put a version into ``work/model``, where another one lies."""

    def status(self) -> list[Command]:
        """Commands that tell what changed since the last commit."""
        raise NotImplementedError(self.name)

    def environment(self) -> dict[str, str]:
        """Variables that the commands need."""
        return {"HOME": str(self.place)}

    def session(self) -> Command | None:
        """The process described above."""
        return None

    def store_files(self) -> list[Path]:
        """The files of the store, without caches."""
        return [path for path in self.store.rglob("*") if path.is_file()]

    def stored_bytes(self) -> int:
        """Their bytes."""
        return sum(path.stat().st_size for path in self.store_files())

    def init(self) -> None:
        """Make folders and store."""
        self.model.mkdir(parents=True)
        self.store.mkdir()
        self.run(self.begin())

    def put(self, version: Path) -> None:
        """Replace ``work/model`` by the files of a folder, as a training run does minutes later.

        Times are set seconds apart: Git takes a file of the same size and second for unchanged.
        """
        shutil.rmtree(self.model)
        shutil.copytree(version, self.model, copy_function=shutil.copyfile)
        self._clock += 10
        for path in self.model.rglob("*"):
            os.utime(path, (self._clock, self._clock))
        os.sync()

    def holds(self, version: Path) -> bool:
        """Whether ``work/model`` has exactly the bytes of that folder."""
        wanted = {path.relative_to(version): path for path in version.rglob("*") if path.is_file()}
        found = {path.relative_to(self.model): path for path in self.model.rglob("*") if path.is_file()}
        return wanted.keys() == found.keys() and all(
            path.read_bytes() == found[name].read_bytes() for name, path in wanted.items()
        )

    def run(self, commands: Sequence[Command]) -> Cost:
        """Run commands one after the other.

        Raises:
            PeerFailed: one of them failed.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        for command in commands:
            done = subprocess.run(command, cwd=self.work, env=self._env(), capture_output=True, check=False)
            if done.returncode:
                words = (done.stderr or done.stdout).decode(errors="replace")
                raise PeerFailed(f"{' '.join(command)} failed ({done.returncode}): {words[-800:]}")
        seconds = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Cost(seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    def peak(self, commands: Sequence[Command]) -> int:
        """Greatest resident bytes while they run, summed over processes."""
        return max(peak_memory(command, self.work, self._env())[0] for command in commands)

    def open_session(self, *, cores: int | None = None) -> Session:
        """Start the process of :meth:`session`, on so many cores."""
        command = self.session()
        if command is None:
            raise ValueError(f"{self.name} has no session")
        return Session(command, self.work, self._env(), cores)

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment()}


class Session:
    """A process that does as it is told line by line and answers with the seconds that it took."""

    def __init__(self, command: Command, cwd: Path, env: dict[str, str], cores: int | None) -> None:
        def few() -> None:
            if cores is not None:
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=few if cores is not None else None,
        )
        self.ask("ready")

    def ask(self, line: str) -> str:
        """Send a line; returns the answer.

        Raises:
            PeerFailed: the process has ended instead.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the process has no pipes")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise PeerFailed(f"{line!r} ended the process with {self._process.wait()}")
        return answer.strip()

    def cost(self, line: str) -> Cost:
        """Send a line; returns what it took."""
        before = self._cpu()
        seconds, *own = (float(word) for word in self.ask(line).split())
        return Cost(seconds, self._cpu() - before, *own)

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> int:
        """End the process; returns its greatest resident bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        self._process.communicate()
        return peak * 1024


def told(command: Sequence[str]) -> str:
    """What a command prints; it must succeed."""
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def program(name: str) -> str | None:
    """Why a program cannot be run, or None."""
    return None if shutil.which(name) else f"{name} is not installed"


def worker(python: Path | str, script: str, *words: object) -> Command:
    """A worker script of this package; ``-P`` keeps its folder off the path of imports."""
    return [str(python), "-P", str(WORKERS / script), *(str(word) for word in words)]


def own_python() -> str:
    """The interpreter that runs the benchmark."""
    return sys.executable
