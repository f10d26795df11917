"""Commits and checks out with mvc in one process: ``mvc_worker PLACE``, line by line.

Besides ``commit N`` and ``checkout N``: ``numpy`` does without the native kernel, ``stages`` begins to count
the processor time of each stage (:mod:`benchmarks.stages`), ``told`` answers with it
as JSON, ``waited`` with the seconds that flushing packs took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.related import WHO, now
from benchmarks.stages import Stages
from mvc.codecs import native
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops import tag
from mvc.ops.checkout import checkout
from mvc.ops.commit import Request, commit
from mvc.repo import Repository


def main() -> None:
    """Do as told."""
    repository = Repository.open(FileIO(), Path(sys.argv[1]) / "work", Monitor())
    stages: Stages | None = None
    for line in iter(sys.stdin.readline, ""):
        verb, _, number = line.strip().partition(" ")
        if verb == "numpy":
            native.KERNEL = None
        if verb == "stages":
            stages = Stages()
            stages.install()
        if verb in {"told", "waited"} and stages is not None:
            print(json.dumps(stages.take()) if verb == "told" else stages.waited(), flush=True)
            continue
        began, own = time.perf_counter(), time.thread_time()
        if verb == "commit":
            commit(repository, Request(f"version {number}", WHO, now()))
        elif verb == "checkout":
            checkout(repository, f"v{number}", WHO, now())
        print(time.perf_counter() - began, time.thread_time() - own, flush=True)
        if verb == "commit":
            tag.create(repository, f"v{number}", "HEAD", WHO, now())


if __name__ == "__main__":
    main()
