"""Files of many small tensors: commit, list and load them, as whole processes, as multiples of bare Python.

python -m benchmarks.tensors [--tensors 10000] [--runs 7] [--quick] [--json FILE]

The file has normally distributed bf16 tensors of 2 KiB. A first version of it is committed, then one in which
every tensor moved by about 1 %, and the listings are of that one. ``load`` is one state dict in a fresh
process, where importing does not count, of the second version and of the first, which stands alone;
``safetensors`` is its own load of the second.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.related import bf16, safetensors
from benchmarks.timing import interleaved, mvc_command, run, seconds_told

COMMANDS = {
    "status": ["status"],
    "ls": ["ls"],
    "ls --tensors": ["ls", "--tensors"],
    "ls --tensors --json": ["ls", "--tensors", "--json"],
    "show": ["show"],
    "diff --stat HEAD~1 HEAD": ["diff", "--stat", "HEAD~1", "HEAD"],
}

_LOAD = """
import sys, time
import safetensors.numpy, ml_dtypes
import mvc, mvc.api, mvc.codecs.fused
folder = sys.argv[1]
began = time.perf_counter()
made = {job}
print(time.perf_counter() - began)
"""
LOADS = {
    "load": "mvc.Repo.open(folder).load_state_dict('HEAD', 'model')",
    "load (first)": "mvc.Repo.open(folder).load_state_dict('HEAD~1', 'model')",
    "load, safetensors": "safetensors.numpy.load_file(folder + '/model.safetensors')",
}


def make_versions(folder: Path, tensors: int) -> list[Path]:
    """Two files of so many tensors each, the second near to the first."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal((tensors, 16, 64), dtype=np.float32) * np.float32(0.02)
    paths = []
    for number in range(2):
        path = folder / f"{number}.safetensors"
        names = (f"model.layers.{index // 10}.block.{index % 10}.weight" for index in range(tensors))
        path.write_bytes(safetensors(dict(zip(names, bf16(values), strict=True))))
        paths.append(path)
        values += rng.standard_normal(values.shape, dtype=np.float32) * np.float32(0.0002)
    return paths


def commit(mvc: list[str], folder: Path, versions: list[Path]) -> float:
    """Seconds to commit the last of some versions, in a repository that has the others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run([*mvc, "init"], folder)
    seconds = 0.0
    for path in versions:
        shutil.copyfile(path, folder / "model.safetensors")
        seconds = run([*mvc, "commit", "-m", path.stem], folder)
    return seconds


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__, page=False)
    parser.add_argument("--tensors", type=int)
    parser.add_argument("--runs", type=int)
    options = parser.parse_args()
    options.tensors = options.tensors or (500 if options.quick else 10_000)
    options.runs = options.runs or (1 if options.quick else 7)
    load = os.getloadavg()[0]
    mvc = mvc_command()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        versions = make_versions(place, options.tensors)
        size = versions[0].stat().st_size
        listed = place / "listed"
        commit(mvc, listed, versions)
        jobs = {
            "python -c pass": partial(run, [sys.executable, "-c", "pass"], place),
            "commit (first)": partial(commit, mvc, place / "first", versions[:1]),
            "commit (moved by 1 %)": partial(commit, mvc, place / "second", versions),
        }
        jobs |= {title: partial(run, [*mvc, *words], listed) for title, words in COMMANDS.items()}
        jobs |= {
            title: partial(seconds_told, [sys.executable, "-c", _LOAD.format(job=job), str(listed)])
            for title, job in LOADS.items()
        }
        medians = interleaved(jobs, options.runs)
        bare = medians["python -c pass"]
        print(f"one file of {options.tensors} tensors, {size / 1e6:.1f} MB")
        print(f"{'command':24s} {'median s':>10s} {'x bare python':>14s}")
        for title, seconds in medians.items():
            print(f"{title:24s} {seconds:10.3f} {seconds / bare:14.1f}")
        report.keep("tensors", options, medians, load)


if __name__ == "__main__":
    main()
