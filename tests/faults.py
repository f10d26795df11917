"""A twin of the IO layer that refuses, writes short, dies or forgets, and a model of what a power cut leaves.

``FaultIO`` counts every touch of the disk as a step and goes wrong at the step it is told. ``Recorder``
keeps the steps, and ``PowerCut`` builds from them folders as a power cut may leave them: what no sync has
covered may have happened or not, in any order, files torn.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mvc.fileio import FileIO

READING = (
    "open_read",
    "open_folder",
    "open_beneath",
    "read_at",
    "read_into",
    "map_read",
    "stat",
    "stat_handle",
    "scan_folder",
)
WRITING = (
    "create",
    "open_append",
    "write",
    "write_at",
    "truncate",
    "clone",
    "sync",
    "close",
    "replace",
    "link",
    "unlink",
    "make_folder",
    "remove_folder",
    "sync_folder",
    "set_mode",
    "open_lock",
    "lock",
)
CHANGING = frozenset(
    {
        "create",
        "open_append",
        "write",
        "write_at",
        "truncate",
        "clone",
        "replace",
        "link",
        "unlink",
        "make_folder",
        "remove_folder",
        "set_mode",
    }
)
"""Steps that change what a folder looks like: a kill at another step leaves nothing new."""
NEEDS_SPACE = frozenset(
    {"create", "open_append", "write", "write_at", "clone", "sync", "make_folder", "link", "open_lock"}
)
WRITES = frozenset({"write", "write_at"})
SYNCS = frozenset({"sync", "sync_folder"})


class FaultIO(FileIO):
    """The real disk, with one thing going wrong.

    Steps are numbered from 1 in the order in which they come; only the methods named in ``counted`` are
    steps.

    ``fail_at``: that step raises ``OSError(error)``: before it does anything, or after it did all
    (``late``), as when the reply of a network disk is lost. With ``for_ever`` every later step of the kinds
    in ``failing`` fails too: a full disk (``NEEDS_SPACE``), or a dead one (all ``counted``). ``short_at``:
    that step, if a write, writes only a part. ``kill_at``: the process dies of SIGKILL before that step, or
    in the middle of it if it is a write.

    Syncs are steps, but do nothing unless ``durable``: nobody pulls the plug on a test.
    """

    def __init__(
        self,
        *,
        fail_at: int = 0,
        error: int = errno.EIO,
        late: bool = False,
        for_ever: bool = False,
        failing: Collection[str] = NEEDS_SPACE,
        short_at: int = 0,
        kill_at: int = 0,
        counted: Collection[str] = READING + WRITING,
        durable: bool = False,
    ) -> None:
        self.steps = 0
        self.names: list[str] = []
        self.failed = False
        self._fail_at = fail_at
        self._error = error
        self._late = late
        self._for_ever = for_ever
        self._failing = failing
        self._short_at = short_at
        self._kill_at = kill_at
        self._counted = frozenset(counted)
        self._durable = durable
        self._lock = threading.Lock()

    def _run(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Take one step, or go wrong in it."""
        if name not in self._counted:
            return self._really(name, args, keywords)
        with self._lock:
            self.steps += 1
            step = self.steps
            self.names.append(name)
        if step == self._kill_at:
            if name in WRITES:
                self._really(
                    name, (args[0], memoryview(args[1]).cast("B")[: len(args[1]) // 2], *args[2:]), {}
                )
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self._fail_at or (self._for_ever and self.failed and name in self._failing):
            self.failed = True
            # A close that fails has closed all the same, so the twin must not leak.
            if self._late or name == "close":
                self._really(name, args, keywords)
            raise OSError(self._error, os.strerror(self._error))
        if step == self._short_at and name in WRITES:
            part = memoryview(args[1]).cast("B")[: (len(args[1]) + 1) // 2]
            return self._really(name, (args[0], part, *args[2:]), {})
        return self._really(name, args, keywords)

    def _really(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if name in SYNCS and not self._durable:
            return None
        return getattr(FileIO, name)(self, *args, **keywords)


def _as_step(name: str) -> Callable[..., Any]:
    def step(self: FaultIO, *args: Any, **keywords: Any) -> Any:
        return self._run(name, args, keywords)

    step.__name__ = name
    return step


for _name in READING + WRITING:
    setattr(FaultIO, _name, _as_step(_name))

_missed = {name for name, what in vars(FileIO).items() if callable(what)} - {*READING, *WRITING}
if _missed:
    raise RuntimeError(f"the twin does not know these methods of FileIO: {sorted(_missed)}")


# --- dying -------------------------------------------------------------------------------------------------


def run_killed(work: Callable[[FaultIO], object], step: int, counted: Collection[str] = WRITING) -> bool:
    """Run ``work`` in a forked child that is killed at a step.

    True if it died there of SIGKILL; False if it came to its end in fewer steps. Anything else is a failure
    of the test: a crash test that kills nothing must not pass.
    """
    return was_killed(fork(lambda: work(FaultIO(kill_at=step, counted=counted))))


def fork(work: Callable[[], object]) -> int:
    """Start ``work`` in a forked child; returns its process number for :func:`was_killed`."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python warns when other threads run (pytest-xdist has some); the child uses none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def was_killed(child: int) -> bool:
    """Wait for a child: True if it died of SIGKILL, False if it came to its end."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"died of signal {os.WTERMSIG(status)}"
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed before it could be killed; see its traceback"
    return False


# --- power cuts --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What one writing step did, in absolute paths."""

    name: str
    path: str = ""
    target: str = ""
    handle: int = -1
    data: bytes = b""
    offset: int = 0
    mode: int = 0
    time_ns: int = 0


class Recorder(FaultIO):
    """A disk that keeps its writing steps. Handles and paths are resolved when the step is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[Step] = []

    def _really(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        made = name in ("open_lock", "open_append") and not os.path.lexists(args[0])
        before = self._described(name, args, keywords)
        result = super()._really(name, args, keywords)
        if name in ("create", "open_lock", "open_append"):
            mode = stat.S_IMODE(os.fstat(result).st_mode)
            if name == "create" or made:
                self.trace.append(Step("create", path=os.fspath(args[0]), handle=result, mode=mode))
            else:
                self.trace.append(Step("open", path=os.fspath(args[0]), handle=result))
        elif name == "open_beneath":
            self.trace.append(Step("open", path=os.path.join(args[0], args[1]), handle=result))
        elif name in ("open_read", "open_folder"):
            self.trace.append(Step("open", path=_absolute(args[0], keywords.get("folder")), handle=result))
        elif name == "write":
            data = bytes(memoryview(args[1]).cast("B")[:result])
            # files are only ever created and appended to by this call, so the handle stands at the end
            offset = os.lseek(args[0], 0, os.SEEK_CUR) - result
            self._wrote(args[0], offset, data)
        elif name == "write_at":
            self._wrote(args[0], args[2], bytes(memoryview(args[1]).cast("B")[:result]))
        elif name == "clone":
            self._wrote(args[1], 0, os.pread(args[0], os.fstat(args[0]).st_size, 0))
        elif name == "truncate":
            time_ns = os.fstat(args[0]).st_mtime_ns
            self.trace.append(Step("truncate", handle=args[0], offset=args[1], time_ns=time_ns))
        elif before is not None:
            self.trace.append(before)
        return result

    def _wrote(self, handle: int, offset: int, data: bytes) -> None:
        time_ns = os.fstat(handle).st_mtime_ns
        self.trace.append(Step("write", handle=handle, data=data, offset=offset, time_ns=time_ns))

    @staticmethod
    def _described(name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Step | None:
        """The step, from its arguments; None if it says more when it is over, or changes nothing."""
        folder = keywords.get("folder")
        match name:
            case "sync" | "close":
                return Step(name, handle=args[0])
            case "replace" | "link":
                source = _absolute(args[0], keywords.get("source_folder"))
                return Step(name, source, _absolute(args[1], keywords.get("target_folder")))
            case "unlink" | "make_folder" | "remove_folder":
                return Step(name, _absolute(args[0], folder))
            case "sync_folder":
                return Step(name, _absolute(args[0], folder))
            case "set_mode":
                return Step(name, _absolute(args[0], None), mode=args[1])
        return None


def _absolute(path: Path | str | int, folder: int | None) -> str:
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    return os.fspath(path) if folder is None else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)


@dataclass(eq=False)
class _File:
    """A file's bytes as a sync has covered them, and what was done to them since: (offset, bytes) written, or
    (length, None) truncated."""

    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    mode: int = 0o644
    synced_mode: int = 0o644
    time_ns: int = 0


@dataclass
class _NameChange:
    """One change of names, which a power cut undoes unless ``folder`` was synced after it."""

    kind: str
    folder: str
    path: str
    target: str = ""
    file: _File | None = None
    durable: bool = False


@dataclass
class PowerCut:
    """What a folder may look like after a power cut in the course of recorded steps.

    ``before`` is the folder as it was (see :func:`snapshot`), which counts as durable. ``forget`` drops
    steps of these names first, as a program that forgot to sync (``SYNCS``) would.

    Pessimistic where POSIX leaves it open: any subset of the changes of names that are not durable may have
    happened. A rename is one change that is durable once the target's folder has been synced. A folder is not
    removed while there are names in it, and what lies in a folder that never came to be is lost with it.
    Permission bits of folders are not looked at.
    """

    root: Path
    before: dict[str, tuple[bytes, int, int] | None]
    trace: list[Step]
    forget: Collection[str] = ()

    def states(self, cut: int, count: int, rng: random.Random) -> Iterator[dict[str, Any]]:
        """Folders as :func:`snapshot` gives them: of what is not durable nothing, all, and random parts."""
        start, changes = self._play(cut)
        # mostly lost, half of it, mostly kept: most reorderings hang on one step that happened or did not
        some = [lambda share=share: rng.random() < share for share in (0.5, 0.15, 0.85)]
        for keep in (lambda: False, lambda: True, *[some[number % 3] for number in range(count)]):
            yield self._state(dict(start), changes, keep, rng)

    @staticmethod
    def _state(
        names: dict[str, _File | None],
        changes: Sequence[_NameChange],
        keep: Callable[[], bool],
        rng: random.Random,
    ) -> dict[str, Any]:
        for change in changes:
            if change.durable or keep():
                _apply(names, change)
        state: dict[str, Any] = {}
        for path in sorted(names):
            parent = os.path.dirname(path)
            if parent and (parent not in state or state[parent] is not None):
                continue
            file = names[path]
            if file is None:
                state[path] = None
                continue
            data = file.synced
            for offset, written in file.since:
                data = _changed(data, offset, None if written is None else _torn(written, keep, rng))
            state[path] = (data, file.mode if keep() else file.synced_mode, file.time_ns)
        return state

    def _play(self, cut: int) -> tuple[dict[str, _File | None], list[_NameChange]]:
        """Go through the steps: the names before them, the files as they are at the cut, the changes."""
        start: dict[str, _File | None] = {
            path: None if item is None else _File(item[0], [], item[1], item[1], item[2])
            for path, item in self.before.items()
        }
        now = dict(start)
        handles: dict[int, _File | None] = {}
        changes: list[_NameChange] = []
        for step in self.trace[:cut]:
            if step.name in self.forget:
                continue
            path, target = self._inside(step.path), self._inside(step.target)
            change = None
            match step.name:
                case "create":
                    file = _File(mode=step.mode, synced_mode=step.mode)
                    handles[step.handle] = file
                    change = _NameChange("add", os.path.dirname(path), path, file=file)
                case "open":
                    handles[step.handle] = now.get(path)
                case "close":
                    handles.pop(step.handle, None)
                case "write" | "truncate":
                    written = handles[step.handle]
                    assert written is not None
                    written.since.append((step.offset, step.data if step.name == "write" else None))
                    written.time_ns = step.time_ns
                case "sync":
                    synced = handles.get(step.handle)
                    if synced is not None:
                        for offset, data in synced.since:
                            synced.synced = _changed(synced.synced, offset, data)
                        synced.since = []
                        synced.synced_mode = synced.mode
                case "set_mode":
                    changed = now.get(path)
                    if changed is not None:
                        changed.mode = step.mode
                case "link":
                    change = _NameChange("add", os.path.dirname(target), target, file=now[path])
                case "replace":
                    change = _NameChange("move", os.path.dirname(target), path, target, now[path])
                case "unlink":
                    change = _NameChange("remove", os.path.dirname(path), path)
                case "make_folder":
                    change = _NameChange("add", os.path.dirname(path), path)
                case "remove_folder":
                    change = _NameChange("remove", os.path.dirname(path), path)
                case "sync_folder":
                    _settle(changes, path)
            if change is not None:
                _apply(now, change)
                changes.append(change)
        return start, changes

    def _inside(self, path: str) -> str:
        return "" if not path or path == str(self.root) else os.path.relpath(path, self.root)


def _settle(changes: list[_NameChange], folder: str) -> None:
    """A folder is synced: its changes are durable, with a removed folder also what was done in it before."""
    for number, change in enumerate(changes):
        if change.folder == folder:
            change.durable = True
            if change.kind == "remove":
                for earlier in changes[:number]:
                    earlier.durable = earlier.durable or earlier.path.startswith(change.path + "/")


def _apply(names: dict[str, _File | None], change: _NameChange) -> None:
    if change.kind == "remove":
        if not any(name.startswith(change.path + "/") for name in names):
            names.pop(change.path, None)
        return
    if change.kind == "move":
        if names.get(change.path) is change.file:
            names.pop(change.path, None)
        names[change.target] = change.file
        return
    names[change.path] = change.file


def _changed(data: bytes, offset: int, written: bytes | None) -> bytes:
    """Bytes after a write at an offset, or after a truncation to it."""
    start = data[:offset].ljust(offset, b"\0")
    return start if written is None else start + written + data[offset + len(written) :]


def _torn(data: bytes, keep: Callable[[], bool], rng: random.Random) -> bytes:
    """What may be left of bytes that were written and not synced."""
    if keep():
        return data
    end = rng.randrange(len(data) + 1)
    # a length without the bytes, a part, a part with a hole of a sector, what no write has reached
    sector = end // 512 * 512
    hole = data[:sector] + bytes(min(512, len(data) - sector)) + data[sector + 512 :]
    return rng.choice([b"", data[: len(data) // 2], bytes(len(data)), data[:end], hole])


def snapshot(root: Path) -> dict[str, Any]:
    """All that lies in a folder: path → (bytes, permission bits, mtime in ns), None for a folder."""
    found: dict[str, Any] = {}
    for folder, folders, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        base = "" if inside == "." else f"{inside}/"
        for name in folders:
            found[base + name] = None
        for name in files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                data = os.fsencode(os.readlink(path))
            else:
                data = Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[base + name] = (data, stat.S_IMODE(status.st_mode), status.st_mtime_ns)
    return found


def lay_out(state: dict[str, Any], root: Path) -> None:
    """Make a folder look like a snapshot; ``root`` must not exist."""
    root.mkdir(parents=True)
    for path, item in sorted(state.items()):
        place = os.path.join(root, path)
        if item is None:
            os.mkdir(place)
            continue
        data, mode, time_ns = item
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb", buffering=0) as file:
            file.write(data)
            os.fchmod(handle, mode)
            os.utime(handle, ns=(time_ns, time_ns))
