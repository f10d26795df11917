"""Real ``mvc`` commands killed by strace at every system call that writes: ``python -m tests.straced``
(``make strace``).

An interpreter that has mvc loaded forks a child for each kill; strace is attached to the child, which then
runs one command line to its end, or to the n-th call of a name, before which the kernel kills it. So nothing
of ours stands between the command and the disk: what the twin of the IO layer does not see is seen here. With
``--error`` the call fails instead.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.faults import fork
from tests.scenes import SCENES, Broken, Stage, chosen, workshop
from tests.tally import Tally, run_all

CALLS = (
    *("open", "openat", "openat2", "creat", "flock", "ioctl", "setxattr"),
    *("write", "pwrite64", "writev", "pwritev", "copy_file_range", "sendfile"),
    *("fsync", "fdatasync", "sync_file_range", "ftruncate", "truncate", "fallocate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "utimensat"),
)
"""System calls that change what a disk holds, or who may."""

_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
_WAIT = 60.0


class Point(NamedTuple):
    """The n-th call of a name within a thread."""

    call: str
    number: int


class Ended(NamedTuple):
    """How a command ended: killed, or with an exit code; and what strace wrote."""

    killed: bool
    code: int
    lines: list[str]


def why_not() -> str | None:
    """Why strace cannot be used here; None if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with workshop() as place:
        try:
            ended = run_traced(("--version",), place, None)
        except Broken as error:
            return str(error)
    return None if ended.code == 0 else "strace does not trace here"


def run_traced(words: tuple[str, ...], place: Path, inject: str | None) -> Ended:
    """Run one ``mvc`` command line in a fork of this process with strace attached; its output and strace's
    go to files in ``place``."""
    preload()
    go_read, go_write = os.pipe()

    def child() -> None:
        os.close(go_write)
        _be_traceable()
        quiet = os.open(place / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.read(go_read, 1)
        os.close(go_read)
        from mvc.cli.main import main

        code = main(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    number = fork(child)
    os.close(go_read)
    log = place / "strace"
    command = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", os.fspath(log)]
    command += ["-e", f"trace={','.join('?' + call for call in CALLS)}"]
    command += ["-p", str(number)] if inject is None else ["-e", f"inject={inject}", "-p", str(number)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        if not _attached(number, tracer):
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            assert tracer.stderr is not None
            raise Broken(f"strace cannot attach: {tracer.stderr.read().decode(errors='replace').strip()}")
        os.write(go_write, b"!")
        _, status = os.waitpid(number, 0)
    finally:
        os.close(go_write)
        tracer.wait(_WAIT)
        if tracer.stderr is not None:
            tracer.stderr.close()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return Ended(killed, -1 if killed else os.waitstatus_to_exitcode(status), lines)


def preload() -> None:
    """Import what commands import, so that a fork begins with the command itself."""
    os.environ.update(MVC_AUTHOR_NAME="Ada", MVC_AUTHOR_EMAIL="ada@example.org", NO_COLOR="1")
    from mvc.cli.main import main  # noqa: F401
    from mvc.cli.table import COMMANDS, load

    for name in COMMANDS:
        load(name)


def _be_traceable() -> None:
    """Let any process of this user trace us, where the kernel lets only parents (Yama)."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PTRACER, _ANYBODY, 0, 0, 0)


def _attached(number: int, tracer: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _WAIT
    while time.monotonic() < end and tracer.poll() is None:
        status = Path(f"/proc/{number}/status").read_text()
        if "TracerPid:\t0" not in status:
            return True
        time.sleep(0.002)
    return False


def points(stage: Stage, place: Path) -> list[Point]:
    """The calls of a command that write to its folder, in order."""
    folder = stage.copy()
    ended = run_traced(_words(stage, folder), place, None)
    if ended.code not in (0, 4):  # 4: it stopped at a conflict, as it should
        raise Broken(f"the command itself ends with {ended.code}: {(place / 'output').read_text()}")
    stage.check(folder, acknowledged=True)
    counted: Counter[tuple[str, str]] = Counter()
    found: dict[Point, None] = {}
    for line in ended.lines:
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, rest = match.groups()
        counted[thread, call] += 1
        creates = "open" not in call or "O_CREAT" in rest or "O_TRUNC" in rest
        if os.fspath(folder) in rest and creates:
            found[Point(call, counted[thread, call])] = None
    return list(found)


def _words(stage: Stage, folder: Path) -> tuple[str, ...]:
    return ("-C", os.fspath(folder), *SCENES[stage.name].words)


def strike(name: str, every: int = 1, error: str = "", *, only: Point | None = None) -> Tally:
    """Kill, or with ``error`` fail, each so many writing calls of a scene's command, or the ``only`` one."""
    tally = Tally()
    with workshop() as place:
        stage = Stage(name, place)
        found = points(stage, place)
        tally.counts["calls that write"] = len(found)
        offset = sum(map(ord, name)) % every
        for point in found[offset::every] if only is None else [only]:
            option = f" --error {error}" if error else ""
            again = f"python -m tests.straced {name!r} --at {point.call}:{point.number}{option}"
            with tally.judged(again):
                _strike_at(stage, place, point, error, tally)
    tally.counts["scenes"] = 1
    return tally


def _strike_at(stage: Stage, place: Path, point: Point, error: str, tally: Tally) -> None:
    folder = stage.copy()
    what = f"error={error}" if error else "signal=KILL"
    ended = run_traced(_words(stage, folder), place, f"{point.call}:{what}:when={point.number}")
    acknowledged = ended.code in (0, 4) and not ended.killed
    struck = any("INJECTED" in line for line in ended.lines) if error else ended.killed
    if not struck:
        # threads may share their work otherwise than in the run that was listed
        tally.counts["came to their end"] += 1
        if not acknowledged:
            raise Broken(f"ended with {ended.code}, and not by us: {(place / 'output').read_text()[-500:]}")
    else:
        tally.counts["failed calls" if error else "kills"] += 1
    if error and ended.code not in (0, 3, 4, 5):
        raise Broken(f"exit code {ended.code}: {(place / 'output').read_text()[-500:]}")
    # a command that stops at a conflict and one that met a conflict because of us end alike
    stage.check(folder, acknowledged=acknowledged and not (error and ended.code == 4))
    stage.go_on(folder)


def main(arguments: list[str]) -> int:
    """The long form; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.straced", description=__doc__)
    parser.add_argument("scenes", nargs="*", help="only these; all if none is named")
    parser.add_argument("--every", type=int, default=1, help="strike at each so many calls")
    parser.add_argument("--at", metavar="CALL:N", help="only there")
    parser.add_argument("--error", default="", help="fail with this error, as ENOSPC, instead of killing")
    parser.add_argument("--jobs", type=int, help="processes; one for each core if not given")
    given = parser.parse_args(arguments)
    reason = why_not()
    if reason is not None:
        print(f"left out: {reason}")
        return 0
    names = [name for name in chosen(given.scenes) if name in SCENES and SCENES[name].words]
    if given.at is not None:
        call, _, number = given.at.partition(":")
        tally = Tally()
        for name in names:
            tally.add(strike(name, error=given.error, only=Point(call, int(number))))
        for again, text in tally.failures:
            print(f"{text}\n  again: {again}")
        return 0 if tally.good else 1
    row = (
        f"strace: {given.error} at every writing call"
        if given.error
        else "strace: kills at every writing call"
    )
    tasks = [(name, given.every, given.error) for name in names]
    return run_all(row, strike, tasks, given.jobs, keep=not given.scenes and given.every == 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
