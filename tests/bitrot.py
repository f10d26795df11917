"""``make bitrot``: every byte of a small repository's files turned over, cut off, zeroed, exchanged.

The short form is ``tests/test_bit_rot.py``; what is asked of each case stands in ``tests/rot.py``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.counts import record
from tests.rot import WAYS, Scene, Wrong, try_case
from tests.rot_repair import try_repair


def run(way: str, every: int, share: int, shares: int, repair_every: int) -> tuple[Counter[str], list[str]]:
    """Some of the cases of a way, on a repository of this process's own; returns counts and what is wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(dir=_in_memory()) as place:
        scene = Scene(Path(place) / "repo")
        copy = Path(place) / "copy"
        shutil.copytree(scene.folder / ".mvc", copy / ".mvc")
        rng = random.Random(7)
        for number, (name, case) in enumerate(WAYS[way](scene.kept, rng)):
            if number // every % shares != share or number % every:
                continue
            counts["cases"] += 1
            try:
                verdict = try_case(scene, name, case)
                counts["detected" if verdict.detected else "harmless"] += 1
                if verdict.detected and counts["cases"] % repair_every == 0 and "format" not in case:
                    try_repair(scene, name, case, copy)
                    counts["repaired"] += 1
            except Wrong as error:
                wrong.append(str(error))
    return counts, wrong


def _in_memory() -> str | None:
    """A folder that costs the disk nothing, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> int:
    """Run all ways; 1 if anything was missed, or read wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bitrot", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try every n-th case only")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repair-every", type=int, default=20, help="repair every n-th from a second copy")
    given = parser.parse_args()
    total: Counter[str] = Counter()
    wrong: list[str] = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for way in WAYS:
            parts = [
                pool.submit(run, way, given.every, share, given.jobs, given.repair_every)
                for share in range(given.jobs)
            ]
            counts: Counter[str] = Counter()
            for part in parts:
                found, missed = part.result()
                counts += found
                wrong += missed
            print(
                f"{way:16} " + ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())),
                flush=True,
            )
            total += counts
    for line in wrong[:50]:
        print(line, file=sys.stderr)
    record(
        "bit rot",
        wrong=len(wrong),
        **{what: total[what] for what in ("cases", "detected", "harmless", "repaired")},
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
