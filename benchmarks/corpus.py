"""A corpus of related checkpoints that the benchmark makes itself.

    python -m benchmarks.corpus [FOLDER] [--quick] [--stand-in]

Trains a small language model (:mod:`benchmarks.corpus_model`) on the sources of Python's standard library,
fine-tunes it in several ways, and derives from it what people derive: casts, averages, pruned and quantised
models, grown vocabularies, shards (:mod:`benchmarks.corpus_files`). All seeds are fixed; floating-point sums
differ between processors, so the bytes do too. The corpus is kept under ``FOLDER`` (default: the user's cache
folder) and made once for each plan and maker. Without torch a stand-in is made with numpy alone:
weights that moved at random, without the structure that training gives them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import corpus_files, corpus_runs, corpus_standin
from benchmarks.corpus_runs import FULL, QUICK, Plan, Runs

_RUN_SOURCES = ("corpus_model.py", "corpus_runs.py", "corpus_standin.py", "corpus_text.py")


def default_folder() -> Path:
    """Where caches belong on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mvc-benchmarks"


def fingerprint(plan: Plan, maker: str) -> str:
    """Changes with whatever decides what the runs leave behind: plan, maker, Python's sources, our own."""
    digest = hashlib.sha256(json.dumps([asdict(plan), maker, platform.python_version()]).encode())
    for name in _RUN_SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]


def corpus(place: Path, plan: Plan, *, stand_in: bool, say: Callable[[str], None]) -> tuple[Path, Runs]:
    """The folder of the corpus's files, made unless it is there, and the runs that they come from."""
    maker = "numpy" if stand_in or find_spec("torch") is None else f"torch {version('torch')}"
    kept = place / fingerprint(plan, maker)
    if not (kept / "runs.json").is_file():
        making = kept.with_suffix(f".{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        (making / "torch").mkdir(parents=True)
        began = time.perf_counter()
        if maker == "numpy":
            runs = corpus_standin.make(plan)
        else:
            from benchmarks.corpus_model import train  # deferred: needs torch

            runs = train(plan, making / "torch", say)
        say(f"corpus made with {maker} in {time.perf_counter() - began:.0f} s")
        corpus_runs.save(runs, making)
        shutil.rmtree(kept, ignore_errors=True)
        making.rename(kept)
    runs = corpus_runs.load(kept)
    files = kept / "files"
    shutil.rmtree(files, ignore_errors=True)  # cheap to derive, and what derives it may have changed
    corpus_files.write(runs, kept / "torch", files)
    return files, runs


def main() -> None:
    """Make it, and say what it holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=default_folder())
    parser.add_argument("--quick", action="store_true", help="a smaller model and shorter runs")
    parser.add_argument("--stand-in", action="store_true", help="without training, as where torch is missing")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    files, runs = corpus(options.folder, plan, stand_in=options.stand_in, say=say)
    print(f"{corpus_runs.parameters(plan):,} parameters, made with {runs.maker}")
    for name, loss in runs.losses.items():
        print(f"loss at {name}: {loss:.3f}")
    for path in sorted(path for path in files.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:12,}  {path.relative_to(files).as_posix()}")
    for name, reason in runs.missing.items():
        print(f"not made: {name}: {reason}")


if __name__ == "__main__":
    main()
