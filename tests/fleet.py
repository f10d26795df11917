"""``make fleet``: many processes that commit to one branch in a bucket, through several gateways of a real
server, while some of them are killed.

Each commit replaces the committer's own file in the tree of the one before it; what a commit is called tells
what the file holds. A writer notes a commit in a file of its own as soon as it was acknowledged, so that the
notes of who was killed are still there: all of that must be in the branch's history, and be whole. The short
form is ``tests/test_fleet.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, TreeId
from mvc.objects import FILE, Commit, Manifest, Part, Tree, TreeEntry
from mvc.refs import encode_target
from mvc.sharing.stores import create_store, open_store
from mvc.store import Store
from mvc.transaction import Update, begin
from mvc.upkeep.check import Checker
from mvc.view import View
from tests import servers
from tests.counts import record
from tests.engine import ME, now

BRANCH = "refs/heads/main"
PLACE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Outcome:
    """What a fleet did: commits that were acknowledged, versions in the history, writers that were killed."""

    acknowledged: int
    versions: int
    killed: int
    seconds: float


def content(who: int, number: int) -> bytes:
    """What a writer's file holds at its n-th commit: something of its own, and something that all share."""
    own = random.Random(f"{who}.{number}").randbytes(2000)
    return own + random.Random(number % 3).randbytes(3000)


# --- one writer --------------------------------------------------------------------------------------------


def write(store: Store, who: int, number: int) -> CommitId:
    """Commit once; returns when it is acknowledged."""
    data = content(who, number)
    own, shared = data[:2000], data[2000:]
    with begin(store, "commit", ME, now()) as transaction:
        put = transaction.writer.put
        parts = tuple(Part(len(piece), put(BlobId, piece)) for piece in (own, shared))
        manifest = Manifest("opaque", len(data), hashlib.sha256(data).digest(), parts)
        file = put(ManifestId, manifest.to_bytes())
        made: list[CommitId] = []

        def build(view: View) -> Update:
            tip = view.refs.get(BRANCH)
            parents = () if tip is None else (CommitId(tip),)
            entries: list[TreeEntry] = []
            for parent in parents:
                before = Commit.from_bytes(view.objects.get(parent)).tree
                entries = list(Tree.from_bytes(view.objects.get(before)).entries)
            name = f"file-{who:03}"
            entries = [entry for entry in entries if entry.name != name]
            tree = put(TreeId, Tree.of([*entries, TreeEntry(name, FILE, file)]).to_bytes())
            commit = put(CommitId, Commit(tree, parents, ME, now(), f"{who}.{number}").to_bytes())
            made.append(commit)
            return Update(refs={BRANCH: encode_target(commit)}, locate=(commit, parents))

        transaction.publish(build)
    return made[-1]


def writer(address: str, environment: Mapping[str, str], who: int, commits: int, notes: Path) -> None:
    """The process of a writer: so many commits, each noted when it is there."""
    with open(notes, "w", buffering=1) as file:
        file.write("ready\n")
        for number in range(commits):
            while True:
                # as a command does, each opens the store anew
                store = open_store(FileIO(), address, Monitor(), base=Path("/"), environment=environment)
                try:
                    commit = write(store, who, number)
                except MvcError as error:
                    if error.exit_code != _TRY_AGAIN:
                        raise
                    file.write("busy\n")
                    continue
                break
            file.write(f"commit {who}.{number} {commit.hex()}\n")


_TRY_AGAIN = 4
_ENDLESS = 1 << 30


# --- all of them -------------------------------------------------------------------------------------------


def sail(server: servers.Server, writers: int, commits: int, kills: int, folder: Path, seed: int) -> Outcome:
    """Let so many writers loose and kill some of them on their way; checks what is there in the end.

    Raises:
        AssertionError: something that was acknowledged is lost or damaged, or a writer failed by itself.
    """
    address = server.address()
    everywhere = [server.environment(gateway) for gateway in range(len(server.ports))]
    create_store(FileIO(), address, Monitor(), base=Path("/"), environment=everywhere[0], branch="main")
    began = time.monotonic()
    children = [
        _start(
            address,
            everywhere[who % len(everywhere)],
            who,
            commits if who >= kills else _ENDLESS,
            folder / f"{who}.notes",
        )
        for who in range(writers)
    ]
    doomed = children[:kills]
    try:
        _kill(doomed, [folder / f"{who}.notes" for who in range(kills)], commits, random.Random(seed))
        for child in children[kills:]:
            _, said = child.communicate(timeout=1800)
            assert child.returncode == 0, said.decode(errors="replace")
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [child.returncode for child in doomed] == [-signal.SIGKILL] * kills
    seconds = time.monotonic() - began
    noted = [line.split() for path in folder.glob("*.notes") for line in path.read_text().splitlines()]
    acknowledged = {words[1]: words[2] for words in noted if words[0] == "commit" and len(words) == 3}
    assert len(acknowledged) >= (writers - kills) * commits
    versions = 0
    for environment in everywhere:
        versions = look(
            open_store(FileIO(), address, Monitor(), base=Path("/"), environment=environment), acknowledged
        )
    return Outcome(len(acknowledged), versions, kills, seconds)


def _start(
    address: str, environment: Mapping[str, str], who: int, commits: int, notes: Path
) -> subprocess.Popen[bytes]:
    job = json.dumps([address, dict(environment), who, commits, str(notes)])
    command = [sys.executable, "-c", "from tests.fleet import one; one()", job]
    own = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PLACE), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, cwd=PLACE, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def one() -> None:
    """The body of a writer's process."""
    address, environment, who, commits, notes = json.loads(sys.argv[1])
    writer(address, environment, who, commits, Path(notes))


def _kill(
    children: Sequence[subprocess.Popen[bytes]], notes: Sequence[Path], commits: int, rng: random.Random
) -> None:
    """Kill each of these writers somewhere behind so many commits of its, at most."""
    after = [rng.randrange(commits) for _ in children]
    waiting = set(range(len(children)))
    until = time.monotonic() + 900
    while waiting:
        assert time.monotonic() < until, "the writers do not come on"
        for who in sorted(waiting):
            child = children[who]
            if child.poll() is not None:
                said = child.communicate()[1].decode(errors="replace")
                raise AssertionError(f"writer {who} ended before it was killed: {said}")
            done = notes[who].read_text().count("commit ") if notes[who].exists() else -1
            if done >= after[who]:
                time.sleep(rng.random() * 0.3)
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                waiting.discard(who)
        time.sleep(0.05)


def look(store: Store, acknowledged: Mapping[str, str]) -> int:
    """Everything acknowledged is in the branch's one line of history, each version whole; how many they are.

    Raises:
        AssertionError: something is not.
    """
    said: dict[str, str] = {}
    with store.reading() as view:
        tip = view.refs.get(BRANCH)
        starts = {tip: BRANCH}
        while tip is not None:
            commit = Commit.from_bytes(view.objects.get(tip))
            assert commit.message not in said, f"{commit.message} is there twice"
            said[commit.message] = tip.hex()
            who, number = map(int, commit.message.split("."))
            assert read(view, commit.tree, f"file-{who:03}") == content(who, number)
            tip = commit.parents[0] if commit.parents else None
        report = Checker(view.backend, view.index, view.objects, starts, lambda _count: None).full()
    assert report.damage == [], report.damage
    lost = {message for message, identity in acknowledged.items() if said.get(message) != identity}
    assert not lost, f"acknowledged and lost: {sorted(lost)}"
    return len(said)


def read(view: View, tree: TreeId, name: str) -> bytes:
    """A file of a version."""
    entry = next(item for item in Tree.from_bytes(view.objects.get(tree)).entries if item.name == name)
    manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
    return b"".join(bytes(view.objects.get(part.blob)) for part in manifest.parts if part.blob)


def main(arguments: Sequence[str] | None = None) -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--writers", type=int, default=24)
    parser.add_argument("--commits", type=int, default=10)
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place, servers.started(Path(place) / "s", given.gateways) as server:
        notes = Path(place) / "notes"
        notes.mkdir()
        outcome = sail(server, given.writers, given.commits, given.writers // 3, notes, given.seed)
    print(outcome)
    record(
        "fleet in a bucket",
        lost=0,
        writers=given.writers,
        gateways=given.gateways,
        killed=outcome.killed,
        acknowledged=outcome.acknowledged,
        versions=outcome.versions,
        seconds=round(outcome.seconds, 1),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
