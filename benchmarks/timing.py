"""Runs commands as whole processes and reports medians; memory is summed over a process and its children."""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def mvc_command() -> list[str]:
    """The words that run this tree's mvc, compiled to bytecode as an installer compiles it.

    Where Python is told not to write bytecode, every command would compile all it imports: 0.2 s.
    """
    compileall.compile_dir(ROOT / "mvc", quiet=1)
    script = Path(sys.executable).parent / "mvc"
    return [str(script)] if script.exists() else [sys.executable, "-m", "mvc"]


def run(command: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> float:
    """Seconds that a command takes; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}): {done.stderr.decode()[-500:]}")
    return seconds


def seconds_told(command: Sequence[str]) -> float:
    """The seconds that a command prints; it must succeed."""
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def interleaved(jobs: dict[str, Callable[[], float]], repetitions: int) -> dict[str, float]:
    """Median seconds of each job, run in turn so that a noisy minute hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repetitions):
        for name, job in jobs.items():
            seconds[name].append(job())
    return {name: statistics.median(values) for name, values in seconds.items()}


def _resident(pid: int) -> int:
    """Resident bytes of one process; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in children:
        found += _family(int(child))
    return found


def peak_memory(command: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> tuple[int, float]:
    """Greatest resident bytes of a command, summed over its processes and sampled every 5 ms; and its
    seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, sum(_resident(pid) for pid in _family(process.pid)))
            done.wait(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _out, errors = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {errors.decode()[-500:]}")
    return peak, time.perf_counter() - began
