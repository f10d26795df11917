"""``python -m tests.measure FOLDER``: what looking at each file of a folder costs, a line of JSON each.

Each file is looked at in a process of its own, forked from one that has imported everything: processor time
and memory are those of this file alone, children's included, and say nothing of how busy the machine is.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

from mvc.fileio import FileIO
from mvc.formats import FORMATS, describe
from mvc.source import OpenFile
from tests.make_files import no_sibling

_SLICE_SECONDS = 0.0014
"""What :func:`_slice` takes on a machine with nothing else to do (EPYC, 2.6 GHz, Python 3.11)."""


def slowness() -> float:
    """How many times as long as on a quiet machine of our time processor time takes here and now: neighbours
    on the same core and cold caches count too. At least 1."""
    taken = []
    for _ in range(15):
        began = time.process_time()
        _slice()
        taken.append(time.process_time() - began)
    return max(1.0, sorted(taken)[len(taken) // 2] / _SLICE_SECONDS)


def _slice() -> None:
    """A few thousand steps of the kind that scanners take."""
    found: dict[int, list[object]] = {}
    for number in range(8_000):
        found.setdefault(number & 255, []).append((number, str(number)))


def main() -> None:
    """Measure every file of a folder."""
    [folder] = sys.argv[1:]
    _look(Path(__file__))  # whatever is imported late is imported now
    for path in sorted(Path(folder).iterdir()):
        print(json.dumps({"name": path.name, **apart(path)}), flush=True)


def apart(path: Path) -> dict[str, object]:
    """What looking at one file costs: ``format``, ``reason``, ``tensors``, ``seconds``, ``bytes``,
    ``slowness`` of the machine at the time; or ``error``."""
    reading, writing = os.pipe()
    gc.collect()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            found = json.dumps(_measured(path))
        except BaseException:
            found = json.dumps({"error": traceback.format_exc()})
        with os.fdopen(writing, "w") as out:
            out.write(found)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    found: dict[str, object] = json.loads(said) if said else {"error": f"died: {status}"}
    return found


def _measured(path: Path) -> dict[str, object]:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forgets the peak
    before = _memory("VmRSS")
    began = time.process_time()
    format_name, reason, tensors = _look(path)
    mine = time.process_time() - began
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "format": format_name,
        "reason": reason,
        "tensors": tensors,
        "slowness": slowness(),
        "seconds": mine + children.ru_utime + children.ru_stime,
        "bytes": _memory("VmHWM") - before + (children.ru_maxrss << 10),
    }


def _look(path: Path) -> tuple[str, str | None, int]:
    io = FileIO()
    fd = io.open_read(path, follow=False)
    try:
        view = OpenFile(io, fd, path.name)
        found = describe(view, no_sibling)
        assert found.layout.format == "opaque" or found.layout.format in {f.name for f in FORMATS}
        return found.layout.format, found.reason, len(found.layout.spans)
    finally:
        io.close(fd)


def _memory(what: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(what))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    main()
