"""What a bundle costs: bytes next to what the store has, and time next to a plain copy of the store.

    python -m benchmarks.bundles [--versions 8] [--quick] [--json FILE]

Versions of a model as a fine-tune makes them. Bundled are all of them, and the newest alone since the one
before it; each is verified, and taken into a repository. A tar archive of the store's folder, made by this
process and synced, takes turns with the bundle: their ratio says more than seconds on a busy machine do.
"""

from __future__ import annotations

import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from benchmarks.related import WHO, Model, now
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops import bundle
from mvc.ops.clone import CloneRequest, clone
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.repo import Repository

ROUNDS = 3


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def archive(store: Path, path: Path) -> None:
    """The store's folder as it is, synced."""
    with path.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w") as out:
            out.add(store, "store")
        os.fsync(file.fileno())


def stored_bytes(repository: Repository) -> int:
    """Bytes of packs and index."""
    folders = (repository.store / "packs", repository.store / "segments")
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def make(repository: Repository, path: Path, *since: str) -> bundle.Bundled:
    """A bundle of the current branch."""
    with repository.reading() as view:
        return bundle.create(FileIO(), view, path, [], Monitor(), since=since, replace=True)


def main() -> None:
    """Measure and print."""
    parser = report.parser(__doc__, page=False)
    parser.add_argument("--versions", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=64, help="of one version")
    options = parser.parse_args()
    options.docs = None
    if options.quick:
        options.versions, options.megabytes = 3, 8
    page = report.Page("bundles", options)
    with tempfile.TemporaryDirectory(prefix="mvc-bundles-") as name:
        folder = Path(name)
        (folder / "work").mkdir()
        repository = init(FileIO(), folder / "work", Monitor())
        model = Model(options.megabytes)
        before = raw = 0
        for number in range(options.versions):
            before = stored_bytes(repository)
            if number:
                model.move()
            raw += sum(path.stat().st_size for path in model.write(folder / "work"))
            commit(repository, Request(f"version {number}", WHO, now()))
        stored = stored_bytes(repository)
        whole, newest, packed = folder / "whole", folder / "newest", folder / "packed"
        times: dict[str, list[float]] = {"create": [], "tar of the store": [], "verify": [], "clone": []}
        for turn in range(ROUNDS):
            times["create"].append(seconds(lambda: make(repository, whole)))
            times["tar of the store"].append(seconds(lambda: archive(repository.store, packed)))
            times["verify"].append(seconds(lambda: bundle.verify(FileIO(), whole, Monitor(), None)))
            times["clone"].append(seconds(lambda turn=turn: taken(folder, whole, turn)))  # type: ignore[misc]
        make(repository, newest, "HEAD~1")
        rows = [
            _row("all versions", raw, stored, whole.stat().st_size),
            _row("the newest", raw // options.versions, stored - before, newest.stat().st_size),
        ]
        page.say(report.table(["what", "raw MB", "stored MB", "bundle MB", "bundle ÷ stored"], rows))
        page.say()
        best = {what: statistics.median(found) for what, found in times.items()}
        rows = [
            [what, f"{spent:.2f}", f"{spent / best['tar of the store']:.2f}", f"{raw / spent / 1e6:,.0f}"]
            for what, spent in best.items()
        ]
        page.say(report.table(["step", "seconds", "÷ tar", "raw MB/s"], rows))
        page.finish({"raw": raw, "stored": stored, "seconds": times})


def taken(folder: Path, path: Path, turn: int) -> None:
    """A clone of a bundle, with its newest version checked out."""
    clone(
        FileIO(),
        str(path),
        folder / f"clone-{turn}",
        Monitor(),
        CloneRequest(),
        WHO,
        now(),
        base=folder,
        environment={},
    )


def _row(what: str, raw: int, stored: int, bundled: int) -> list[str]:
    return [what, _mb(raw), _mb(stored), _mb(bundled), f"{bundled / stored:.3f}"]


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}"


if __name__ == "__main__":
    main()
