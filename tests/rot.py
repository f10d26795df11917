"""Bit rot: a small repository, all the ways in which its files may go bad, and what every read says then.

A *case* is what lies in the store instead of what belongs there: path → bytes, None for a file that is gone.
:func:`judge` asks everything of a repository in that state: the check must see the damage, or every read must
give what it always gave; and no read, seen or unseen, ever gives other bytes or an error that is not ours.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations, permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mvc import oplog, refs
from mvc.errors import DamageError, MvcError, RepositoryNotFound, RevisionNotFound, UnsupportedFeature
from mvc.laying import lay_out
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.odb import index
from mvc.odb.pack import scan_pack
from mvc.ops import branch, tag
from mvc.ops.cat import cat
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as Collection
from mvc.ops.gc import gc
from mvc.ops.init import init
from mvc.ops.log import log
from mvc.ops.ls import files, tensors
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.workspace import files_of
from tests.engine import ME, now, open_repository, snapshot, switch_to
from tests.faults import FaultIO
from tests.lines import merge
from tests.make_files import finetuned, random_weights, safetensors_bytes

LOCAL = (
    *("tmp", "intents", "transfers", "config", "hints", ".gitignore"),
    *("root.lock", "worktree.lock", "gc.lock", "strays.lock", "transfers.lock"),
)
"""Nothing of a version lies there: who is at work, and the user's own settings."""

DERIVED = ("locators", "index", "weights", "sketches", "root.previous", "trash")
"""Made again when they are lost, a hint for repairs, or garbage: no check looks at them, so nothing that a
version tells may depend on them."""

Case = Mapping[str, bytes | None]


def derived(path: str) -> bool:
    """Whether a file of the store can be made again from the others."""
    return path.split("/")[0] in DERIVED


class Seen(NamedTuple):
    """All that a repository tells: what refs name, the log of every branch and tag, every file and tensor
    (``REV:PATH`` and ``REV:PATH#TENSOR``)."""

    refs: Mapping[str, bytes]
    head: str | CommitId | None
    log: tuple[CommitId, ...]
    contents: Mapping[str, bytes]


@dataclass(repr=False)
class Scene:
    """A repository, what lies in its store, and what it tells while it is sound.

    ``older`` are earlier bytes of files that are replaced, ``earlier`` what the repository told when its root
    had these bytes.
    """

    folder: Path
    store: dict[str, bytes] = field(init=False)
    older: dict[str, list[bytes]] = field(default_factory=dict)
    earlier: dict[bytes, Seen] = field(default_factory=dict)
    seen: Seen = field(init=False)

    def __post_init__(self) -> None:
        build(self)
        self.store = picture(self.folder)
        self.seen = look(self.folder)
        assert len(self.seen.log) >= 5 and len(self.seen.contents) > 30

    @property
    def kept(self) -> dict[str, bytes]:
        """The files that versions or their index are made of."""
        return {path: data for path, data in self.store.items() if not derived(path)}


def quiet() -> FaultIO:
    """The real disk; nobody pulls the plug on it."""
    return FaultIO(counted=())


def opened(folder: Path) -> Repository:
    return open_repository(folder, quiet())


def picture(folder: Path) -> dict[str, bytes]:
    """What lies in the store and is not local."""
    store = folder / ".mvc"
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in LOCAL
    }


def build(scene: Scene) -> None:
    """Versions of a model that trains, a branch, a merge, tags, deltas, records of equal length, pieces of
    refs and of the operation log, garbage; some of it collected."""
    folder = scene.folder
    with pytest.MonkeyPatch.context() as patch:
        # pieces come with few refs and operations, and runs of the index stay apart: the store stays small
        patch.setattr(index, "GROWTH", 1)
        patch.setattr(refs, "MAX_RECENT", 3)
        patch.setattr(oplog, "MAX_RECENT", 4)
        repository = init(quiet(), folder, Monitor())
        rng = np.random.default_rng(3)
        weights = random_weights(rng, {"a.weight": (30, 10), "b.bias": (7,), "c": (300,)}, "BF16")

        def train() -> None:
            nonlocal weights
            weights = finetuned(weights, rng, 0.01)
            (folder / "model.safetensors").write_bytes(safetensors_bytes(weights))

        def commit(message: str) -> None:
            snapshot(repository, message)
            keep_older(scene)

        train()
        (folder / "data").mkdir()
        for number in range(3):
            (folder / "data" / f"{number}.bin").write_bytes(rng.bytes(300))
        commit("one")
        train()
        (folder / "log.txt").write_text("".join(f"step {n}\n" for n in range(700)))
        commit("two")
        tag.create(repository, "v2", "HEAD", ME, now(), message="the second")
        switch_to(repository, "HEAD", new_branch="side")
        (folder / "side.txt").write_text("side\n" * 30)
        train()
        commit("three")
        switch_to(repository, "main")
        train()
        commit("four")
        (folder / "undone.bin").write_bytes(rng.bytes(500))
        commit("undone")
        undo(repository, ME, now())
        gc(repository, Collection(now(), 0, repack=True))
        keep_older(scene)
        merge(repository, "side", strategy="average")
        keep_older(scene)
        train()
        (folder / "run.sh").write_text("echo\n")
        (folder / "run.sh").chmod(0o755)
        commit("six")
        for number in range(3):
            tag.create(repository, f"light{number}", f"HEAD~{number}", ME, now())
        branch.create(repository, "old", "v2", ME, now())
        status(repository)
    repository.temporary.close()
    for path in (folder / ".mvc").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def keep_older(scene: Scene) -> None:
    """Remember each file that is replaced as it is now."""
    for path, data in picture(scene.folder).items():
        if path == "root":
            scene.earlier[data] = look(scene.folder)
        elif derived(path):
            before = scene.older.setdefault(path, [])
            if data not in before:
                before.append(data)


# --- what may happen to it ---------------------------------------------------------------------------------


def flips(store: Mapping[str, bytes], rng: random.Random) -> Iterator[tuple[str, Case]]:
    """Every byte with one bit turned over, and with all of them."""
    for path, data in store.items():
        for at in range(len(data)):
            for mask in (1 << rng.randrange(8), 0xFF):
                yield f"{path} at {at} ^ {mask:#04x}", {path: changed(data, at, bytes([data[at] ^ mask]))}


def cuts(store: Mapping[str, bytes], rng: random.Random) -> Iterator[tuple[str, Case]]:
    """Every file cut to every length, and with something behind its end."""
    for path, data in store.items():
        for length in range(len(data)):
            yield f"{path} cut to {length}", {path: data[:length]}
        for tail in (b"\0", data[-32:], data):
            yield f"{path} and {len(tail)} bytes", {path: data + tail}


def zeros(store: Mapping[str, bytes], rng: random.Random) -> Iterator[tuple[str, Case]]:
    """Stretches of zeros, as a disk leaves that lost a sector, or that never got it."""
    for path, data in store.items():
        for size in (1, 32, 512, 4096):
            for at in range(0, len(data), max(size // 2, 8)):
                lost = data[at : at + size]
                if lost.strip(b"\0"):
                    yield f"{path} zeros {at}+{size}", {path: changed(data, at, bytes(len(lost)))}


def records_swapped(store: Mapping[str, bytes], rng: random.Random) -> Iterator[tuple[str, Case]]:
    """Two records in each other's place: in one pack, or between two where they are equally long; and each
    in the place of the other, which is gone then."""
    packs = {path: data for path, data in store.items() if path.startswith("packs/")}
    places = [
        (path, offset, length)
        for path, data in packs.items()
        for offset, length, _record in scan_pack(bytes.fromhex(Path(path).stem), data)
    ]
    for (one, at, length), (other, there, size) in combinations(places, 2):
        first, second = packs[one][at : at + length], packs[other][there : there + size]
        if one == other:
            data = packs[one]
            between = data[at + length : there]
            swapped = data[:at] + second + between + first + data[there + size :]
            yield f"{one} records {at} and {there} swapped", {one: swapped}
        elif length == size:
            yield (
                f"records {one}+{at} and {other}+{there} swapped",
                {one: changed(packs[one], at, second), other: changed(packs[other], there, first)},
            )
        if length == size:
            yield (
                f"{one} record {at} instead of {other}+{there}",
                {other: changed(packs[other], there, first)},
            )


def files_mixed(store: Mapping[str, bytes], rng: random.Random) -> Iterator[tuple[str, Case]]:
    """A file in the place of another of its kind, two that changed places, a second name, no name."""
    for one, other in permutations(store, 2):
        if kind(one) == kind(other):
            yield f"{one} in the place of {other}", {other: store[one]}
            if one < other:
                yield f"{one} and {other} swapped", {one: store[other], other: store[one]}
    for path, data in store.items():
        yield f"{path} deleted", {path: None}
        yield f"{path} twice", {twin(path): data}
    for folder in sorted({path.split("/")[0] for path in store if "/" in path}):
        inside = [path for path in store if path.startswith(folder + "/")]
        yield f"{folder} deleted", dict.fromkeys(inside)
        yield f"{folder} empty files", dict.fromkeys(inside, b"")


WAYS = {
    "flipped": flips,
    "cut": cuts,
    "zeroed": zeros,
    "records swapped": records_swapped,
    "files mixed": files_mixed,
}


def kind(path: str) -> tuple[str, str]:
    return path.split("/")[0], Path(path).suffix


def twin(path: str) -> str:
    """Another name that the same kind of file may have."""
    name = Path(path)
    if len(name.stem) != 64:
        return f"{path}2"
    stem = name.stem[:2] + bytes(b ^ 1 for b in bytes.fromhex(name.stem[2:])).hex()
    return str(name.with_name(stem + name.suffix))


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


# --- what is told then -------------------------------------------------------------------------------------


def look(folder: Path) -> Seen:
    """Ask a sound repository for everything."""
    repository = opened(folder)
    contents: dict[str, bytes] = {}
    with repository.reading() as view:
        values = dict(view.refs.values())
        entries = tuple(entry.id for entry in log(view, sorted(values)))
        for identity in entries:
            for row in files(view, identity.hex()):
                name = f"{identity.hex()}:{row.path}"
                contents[name] = b"".join(cat(view, name))
            for row in tensors(view, identity.hex()):
                name = f"{identity.hex()}:{row.path}#{row.span.name}"
                contents[name] = b"".join(cat(view, name))
        return Seen(values, view.head, entries, contents)


class Wrong(AssertionError):
    """A read that gave other bytes, an error of another kind, or damage that nobody saw."""


class Verdict(NamedTuple):
    """``detected`` by the check; ``refused`` reads said that there is damage."""

    detected: bool
    refused: int


def judge(
    scene: Scene, case: str, *, expected: Seen | None = None, allowed: tuple[type[MvcError], ...] = ()
) -> Verdict:
    """Ask everything of the repository as it lies there.

    ``allowed`` are errors beside damage that may come here, and count as it.

    Raises:
        Wrong: it is not as this module says at the top.
    """
    right = expected or scene.seen
    expect = (DamageError, *allowed)
    try:
        detected = bool(fsck(opened(scene.folder), full=True).damage)
    except expect:
        detected = True
    except Exception as error:
        raise Wrong(f"{case}: the check failed with {error!r}") from error
    refused = 0
    try:
        refused = _read(scene.folder, right, case, expect)
    except expect:
        refused = 1 + len(right.contents)
    except Wrong:
        raise
    except Exception as error:
        raise Wrong(f"{case}: reading failed with {error!r}") from error
    if refused and not detected:
        raise Wrong(f"{case}: nothing was found, and {refused} reads are refused")
    return Verdict(detected, refused)


def _read(folder: Path, right: Seen, case: str, expect: tuple[type[MvcError], ...]) -> int:
    """Ask for refs, log and every content; returns how many reads were refused."""
    repository = opened(folder)
    refused = 0
    with repository.reading() as view:
        if view.head != right.head:
            raise Wrong(f"{case}: HEAD is {view.head}")
        try:
            if dict(view.refs.values()) != right.refs:
                raise Wrong(f"{case}: other refs")
        except expect:
            refused += 1
        try:
            if tuple(entry.id for entry in log(view, sorted(right.refs))) != right.log:
                raise Wrong(f"{case}: another log")
        except expect:
            refused += 1
        for name, content in right.contents.items():
            try:
                if b"".join(cat(view, name)) != content:
                    raise Wrong(f"{case}: other bytes for {name}")
            except expect:
                refused += 1
    return refused


def readable(scene: Scene) -> set[str]:
    """Names of contents that can be read, all of them right. What a repair could not bring back may be
    unheard of then."""
    found = set()
    repository = opened(scene.folder)
    try:
        with repository.reading() as view:
            for name, content in scene.seen.contents.items():
                with suppress(DamageError, RevisionNotFound):
                    if b"".join(cat(view, name)) != content:
                        raise Wrong(f"other bytes for {name}")
                    found.add(name)
    except (DamageError, *REFUSALS["format"]):
        return found
    return found


def lay_out_all(scene: Scene, place: Path, case: str) -> None:
    """As a checkout does it: every version's files in a folder, right or refused."""
    repository = opened(scene.folder)
    with repository.reading() as view:
        for identity in scene.seen.log:
            shutil.rmtree(place, ignore_errors=True)
            try:
                lay_out(repository, view, place, files_of(view, identity), {})
            except DamageError:
                continue
            for name, content in scene.seen.contents.items():
                version, _, path = name.partition(":")
                if version == identity.hex() and "#" not in path and (place / path).read_bytes() != content:
                    raise Wrong(f"{case}: other bytes laid out for {name}")


def lay(folder: Path, case: Case) -> None:
    """Put files into the store, each as a new one: others may have the old one mapped."""
    for path, data in case.items():
        place = folder / ".mvc" / path
        place.unlink(missing_ok=True)
        if data is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def put_back(scene: Scene, case: Case) -> None:
    lay(scene.folder, {path: scene.store.get(path) for path in case})


REFUSALS: dict[str, tuple[type[MvcError], ...]] = {"format": (UnsupportedFeature, RepositoryNotFound)}
"""Where damage looks like something else: the line that says which format this is may name another, or be
gone."""


def try_case(scene: Scene, name: str, case: Case) -> Verdict:
    """Lay a case, judge it, put everything back."""
    lay(scene.folder, case)
    try:
        allowed = tuple(error for path in case for error in REFUSALS.get(path, ()))
        return judge(scene, name, allowed=allowed)
    finally:
        put_back(scene, case)
