"""Sharing through a bucket: a clone and the pull of one fine-tune, beside copies of the files and restic.

    python -m benchmarks.sharing [--data ../shared/data/checkpoints] [--megabytes 128] [--versions 6]
        [--repetitions 3] [--rates 0,125] [--quick] [--json FILE] [--docs docs]

A real S3 server (SeaweedFS) on this machine, behind a proxy that counts what goes over the wire in both
directions and, where a rate is given (in MB/s; 125 is 1 Gbit/s), lets no more through. In it lie versions of
a model, as a repository, as raw files and as snapshots of restic:

- *trained*: the families of trained checkpoints of ``--data``, left out where that is missing;
- *made*: ``--versions`` versions of ``--megabytes`` each, as a fine-tune makes them (benchmarks.related).

Two jobs, each into a fresh folder: *clone* takes everything but the last version, with the newest files in
the folder; *pull* then takes the last version, which was pushed meanwhile. Raw files are copied by obstore
(16 at once) and by ``aws s3 sync``; restic copies its snapshots, and restores the newest. All take turns in
each repetition; medians. What everybody has in the end is compared with what was sent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import report
from benchmarks.related import Model
from benchmarks.timing import mvc_command, run
from mvc.parallel import ordered_map
from tests.faultproxy import FaultProxy
from tests.servers import BUCKET, KEY, SECRET, Server, started

GOALS = {"clone": 0.4, "pull": 1.05}
"""Bytes over the wire: of the raw files' for a clone, of the stored delta for a pull."""

_LINE = (
    "pretrain-bf16/step-0700.safetensors",
    "pretrain-bf16/step-0790.safetensors",
    "pretrain-bf16/step-0800.safetensors",
    "finetune-bf16/lr2e-5/step-0060.safetensors",
    "finetune-bf16/lr2e-5/step-0120.safetensors",
    "finetune-bf16/lr2e-5/final.safetensors",
)
"""Versions of ``model.safetensors``; the other families lie beside it from the last version but one on."""

Wire = tuple[float, int]
"""Seconds, and bytes over the wire in both directions."""


def trained(data: Path, place: Path) -> list[Path]:
    """A folder for each version of the trained families; the last one has one new file, a fine-tune."""
    others = sorted(
        path
        for path in data.rglob("*")
        if path.suffix in {".safetensors", ".pt"} and str(path.relative_to(data)) not in _LINE
    )
    folders = []
    for number, name in enumerate(_LINE):
        folder = place / str(number)
        folder.mkdir(parents=True)
        shutil.copy(data / name, folder / "model.safetensors")
        for path in others if number >= len(_LINE) - 2 else ():
            target = folder / path.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        folders.append(folder)
    return folders


def made(megabytes: float, versions: int, place: Path) -> list[Path]:
    """A folder for each version of a model whose weights move."""
    model = Model(megabytes)
    folders = []
    for number in range(versions):
        folder = place / str(number)
        model.write(folder)
        model.move()
        folders.append(folder)
    return folders


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but a store's."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".mvc" not in path.relative_to(folder).parts
    }


class Contender(ABC):
    """Somebody who shares versions through the bucket; ``proxy`` is on the way there."""

    name: str

    def __init__(self, server: Server, place: Path) -> None:
        self.place = place / self.name.replace(" ", "-")
        self.place.mkdir()
        self.port = server.ports[0]
        self.below = f"{self.name.replace(' ', '-')}-{os.urandom(4).hex()}"

    def missing(self) -> str | None:
        """Why it cannot take part; None if it can."""
        return None

    @property
    def environment(self) -> dict[str, str]:
        """Credentials, and the way to the server as it is now."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @abstractmethod
    def send(self, version: Path, number: int) -> None:
        """Bring a version there."""

    @abstractmethod
    def clone(self, folder: Path) -> float:
        """Take all that is there; returns seconds."""

    @abstractmethod
    def pull(self, folder: Path) -> float:
        """Take what is new since :meth:`clone` into the same folder; returns seconds."""

    def newest(self, folder: Path) -> Path:
        """Where the newest version's files lie in a folder that was cloned to."""
        return folder


class Mvc(Contender):
    """This project."""

    name = "mvc"

    def __init__(self, server: Server, place: Path) -> None:
        super().__init__(server, place)
        self.delta = 0
        """Bytes that the last version took in the sender's store."""
        self._work = self.place / "work"
        self._work.mkdir()
        self._do(self._work, "init", "-q")
        self._do(self._work, "remote", "add", "origin", f"s3://{BUCKET}/{self.below}")

    def _do(self, folder: Path, *words: str) -> float:
        identity = {"MVC_AUTHOR_NAME": "Bench", "MVC_AUTHOR_EMAIL": "bench@example.org"}
        return run([*mvc_command(), *words], folder, {**self.environment, **identity})

    def send(self, version: Path, number: int) -> None:
        """Bring a version there."""
        for path in self._work.iterdir():
            if path.name != ".mvc":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(version, self._work, dirs_exist_ok=True)
        before = _size(self._work / ".mvc" / "packs")
        self._do(self._work, "commit", "-q", "-m", f"version {number}")
        self.delta = _size(self._work / ".mvc" / "packs") - before
        self._do(self._work, "push", "-q")

    def clone(self, folder: Path) -> float:
        """Take all that is there."""
        folder.mkdir()
        return self._do(folder, "clone", "-q", f"s3://{BUCKET}/{self.below}", "copy")

    def pull(self, folder: Path) -> float:
        """Take what is new."""
        return self._do(folder / "copy", "pull", "-q")

    def newest(self, folder: Path) -> Path:
        """Where the newest files lie."""
        return folder / "copy"


class _Raw(Contender):
    """The files of each version in a folder of their own; one that a version shares with the one before
    comes once."""

    def __init__(self, server: Server, place: Path) -> None:
        super().__init__(server, place)
        self._sent: dict[str, str] = {}
        self._number = 0

    def _store(self):  # type: ignore[no-untyped-def]
        from obstore.store import S3Store

        return S3Store(
            BUCKET,
            prefix=self.below,
            endpoint=f"http://127.0.0.1:{self.port}",
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def send(self, version: Path, number: int) -> None:
        """Bring a version there."""
        import obstore

        self._number = number
        for name, digest in files(version).items():
            if self._sent.get(name) != digest:
                obstore.put(self._store(), f"{number}/{name}", (version / name).read_bytes())
                self._sent[name] = digest


class Obstore(_Raw):
    """The library that mvc itself talks to buckets with."""

    name = "obstore copy"

    def clone(self, folder: Path) -> float:
        """Take all that is there."""
        return self._take(folder)

    def pull(self, folder: Path) -> float:
        """Take what is new."""
        return self._take(folder)

    def _take(self, folder: Path) -> float:
        """In this process: a start-up would be Python's, and not the copy's."""
        import obstore

        began = time.perf_counter()
        store = self._store()
        keys = [meta["path"] for page in obstore.list(store) for meta in page]

        def one(key: str) -> None:
            target = folder / key
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb") as file:
                    for chunk in obstore.get(store, key).stream(min_chunk_size=1 << 20):
                        file.write(chunk)

        for _done in ordered_map(one, keys, workers=16):
            pass
        return time.perf_counter() - began


class AwsSync(_Raw):
    """Amazon's command line."""

    name = "aws s3 sync"

    def missing(self) -> str | None:
        """Why it cannot take part."""
        if shutil.which("aws") is None:
            return "aws is not installed"
        return None

    def clone(self, folder: Path) -> float:
        """Take all that is there."""
        return self._take(folder)

    def pull(self, folder: Path) -> float:
        """Take what is new."""
        return self._take(folder)

    def _take(self, folder: Path) -> float:
        words = ["aws", "s3", "sync", "--quiet", f"s3://{BUCKET}/{self.below}", str(folder)]
        return run(words, self.place, self.environment)


class Restic(Contender):
    """Backup: pieces by content, compressed and encrypted."""

    name = "restic"

    def missing(self) -> str | None:
        """Why it cannot take part."""
        return None if shutil.which("restic") else "restic is not installed"

    def _do(self, *words: str, cwd: Path | None = None) -> float:
        own = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self.place / "cache")}
        return run(["restic", "-q", *words], cwd or self.place, {**self.environment, **own})

    @property
    def _there(self) -> str:
        return f"s3:http://127.0.0.1:{self.port}/{BUCKET}/{self.below}"

    def send(self, version: Path, number: int) -> None:
        """Bring a version there."""
        if number == 0:
            self._do("-r", self._there, "init", "--repository-version", "2")
        self._do("-r", self._there, "backup", "--host", "bench", ".", cwd=version)

    def clone(self, folder: Path) -> float:
        """Its snapshots into a repository here, and the newest one's files."""
        folder.mkdir()
        shutil.rmtree(self.place / "cache", ignore_errors=True)
        self._do("-r", str(folder / "repository"), "init", "--repository-version", "2")
        return self.pull(folder)

    def pull(self, folder: Path) -> float:
        """Take what is new."""
        own = {"RESTIC_FROM_PASSWORD": "bench"}
        before = dict(os.environ)
        os.environ.update(own)
        try:
            seconds = self._do("-r", str(folder / "repository"), "copy", "--from-repo", self._there)
        finally:
            os.environ.clear()
            os.environ.update(before)
        target = folder / "files"
        shutil.rmtree(target, ignore_errors=True)
        return seconds + self._do(
            "-r", str(folder / "repository"), "restore", "latest", "--target", str(target)
        )

    def newest(self, folder: Path) -> Path:
        """Where the newest files lie."""
        return folder / "files"


CONTENDERS: Sequence[type[Contender]] = (Mvc, Obstore, AwsSync, Restic)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _through(contender: Contender, server: Server, rate: float | None) -> Iterator[FaultProxy]:
    with FaultProxy(server.ports[0], rate=rate) as proxy:
        contender.port = proxy.port
        try:
            yield proxy
        finally:
            contender.port = server.ports[0]


def main() -> None:
    """Measure and print."""
    parser = report.parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/checkpoints"))
    parser.add_argument("--megabytes", type=float, default=128)
    parser.add_argument("--versions", type=int, default=6)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--rates", default="0,125", help="MB/s of the link; 0: as fast as it goes")
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.versions, options.repetitions = 9.0, 3, 1
    page = report.Page("sharing", options)
    measured: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name, started(Path(name) / "server") as server:
        place = Path(name)
        sets = {"made": made(options.megabytes, options.versions, place / "made")}
        if options.data.is_dir():
            sets = {"trained": trained(options.data, place / "trained"), **sets}
        for title, versions in sets.items():
            measured[title] = _compare(page, title, versions, server, place / f"{title}-at", options)
    page.finish(measured)


def _compare(page, title: str, versions: list[Path], server: Server, place: Path, options):  # type: ignore[no-untyped-def]
    place.mkdir()
    contenders = [kind(server, place) for kind in CONTENDERS]
    absent = {one.name: why for one in contenders if (why := one.missing())}
    contenders = [one for one in contenders if one.name not in absent]
    raw = _raw_bytes(versions[:-1])
    for one in contenders:
        for number, version in enumerate(versions[:-1]):
            one.send(version, number)
    rates = [float(text) for text in options.rates.split(",")]
    seen: dict[tuple[str, float, str], list[Wire]] = {}
    folders: dict[tuple[str, float, int], Path] = {}

    def measure(job: str) -> None:
        for repetition in range(options.repetitions):
            for rate in rates:
                for one in contenders:
                    folder = place / f"{one.below}-{rate}-{repetition}"
                    with _through(one, server, rate * 1e6 or None) as proxy:
                        seconds = one.clone(folder) if job == "clone" else one.pull(folder)
                        wire = proxy.sent + proxy.received
                    seen.setdefault((job, rate, one.name), []).append((seconds, wire))
                    folders[one.name, rate, repetition] = folder

    measure("clone")
    for one in contenders:
        one.send(versions[-1], len(versions) - 1)
    measure("pull")
    wanted = files(versions[-1])
    for one in contenders:
        if not isinstance(one, _Raw):
            for (name, _rate, _repetition), folder in folders.items():
                if name == one.name and files(one.newest(folder)) != wanted:
                    raise SystemExit(f"{name}: the files are not those that were sent")
    shutil.rmtree(place)
    delta = next(one.delta for one in contenders if isinstance(one, Mvc))
    new = _raw_bytes(versions) - raw
    page.say(f"\n**{title}**: {len(versions)} versions; {raw / 1e6:,.1f} MB of different files, then")
    page.say(f"{new / 1e6:,.1f} MB of new ones, which take {delta / 1e6:,.2f} MB in the sender's store.\n")
    result: dict[str, object] = {"raw": raw, "new": new, "delta": delta, "absent": absent}
    for rate in rates:
        rows = []
        for one in contenders:
            cells = [one.name]
            for job, of in (("clone", raw), ("pull", delta)):
                walls = seen[job, rate, one.name]
                seconds = statistics.median(wall[0] for wall in walls)
                wire = statistics.median(wall[1] for wall in walls)
                cells += [report.figure(seconds), report.figure(wire / 1e6), report.figure(wire / of, 3)]
                result[f"{job} {rate:g} {one.name}"] = {"seconds": seconds, "wire": wire}
            rows.append(cells)
        for name, why in absent.items():
            rows.append([f"{name} ({why})", *["–"] * 6])
        page.say("unshaped" if not rate else f"{rate:g} MB/s ({rate * 8 / 1000:g} Gbit/s)")
        page.say("")
        heads = ["", "clone s", "MB", "of raw", "pull s", "MB", "of the delta"]
        page.say(report.table(heads, rows) + "\n")
    return result


def _raw_bytes(versions: Sequence[Path]) -> int:
    """Of the different files in these folders."""
    sizes: dict[str, int] = {}
    for folder in versions:
        for name, digest in files(folder).items():
            sizes[digest] = (folder / name).stat().st_size
    return sum(sizes.values())


if __name__ == "__main__":
    main()
