"""Commands on disks that are really full: ``python -m tests.full_disk`` (the second half of
``make full-disk``), and with a folder of real checkpoints the story of one that filled up in the middle of a
commit: ``python -m tests.full_disk DATA``.

The disks are tmpfs, mounted in a namespace of their own: as root, or as any user where the kernel lets users
make namespaces. A file, or many empty ones, takes up all the room but so much.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mvc.ops.undo import undo
from mvc.text import size as shown
from tests.engine import ME, now, open_repository, snapshot, switch_to
from tests.family import file_of, tuned, weights
from tests.faults import fork
from tests.lines import make_repository, put
from tests.scenes import (
    SCENES,
    Broken,
    Scene,
    Stage,
    assert_whole,
    look,
    noise,
    versions,
    work_files,
)
from tests.straced import preload
from tests.tally import Tally, run_all

INSIDE = "MVC_FULL_DISK_INSIDE"
ROOM = (0, 4, 12, 24, 48, 100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800, 25600)
"""KiB that are free when a command begins."""
NAMES = (0, 1, 2, 3, 4, 6, 8, 10, 12, 15, 20, 30, 50)
"""Inodes that are free when a command begins."""
SHAPES = {"up": (700, 992), "down": (96, 992), "norm": (992,)}


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    said: str


# --- disks -------------------------------------------------------------------------------------------------


def why_not() -> str | None:
    """Why no disk can be mounted here; None if one can."""
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not installed"
    command = [*_namespace(), "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    ended = subprocess.run(command, capture_output=True, text=True)
    return None if ended.returncode == 0 else f"not permitted to mount: {ended.stderr.strip()}"


def _namespace() -> list[str]:
    return ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]


@contextmanager
def disk(megabytes: int, names: int = 0) -> Iterator[Path]:
    """A disk of that size, with room for so many files; where it is mounted."""
    with tempfile.TemporaryDirectory(prefix="mvc-disk-") as place:
        options = f"size={megabytes}m" + (f",nr_inodes={names}" if names else "")
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


def leave_room(place: Path, room: int) -> Path:
    """Take up all of a disk's room but so many bytes; the file that does."""
    ballast = place / "ballast"
    with open(ballast, "wb") as file:
        state = os.statvfs(place)
        wanted = state.f_bavail * state.f_frsize - room
        if wanted > 0:
            os.posix_fallocate(file.fileno(), 0, wanted)
    return ballast


def leave_names(place: Path, count: int) -> Path:
    """Take up all of a disk's inodes but so many; the folder of the files that do."""
    ballast = place / "ballast"
    ballast.mkdir()
    made = 0
    while os.statvfs(place).f_ffree > count:
        (ballast / str(made)).touch()
        made += 1
    return ballast


def remove(ballast: Path) -> None:
    """Give the room back."""
    if ballast.is_dir():
        shutil.rmtree(ballast)
    else:
        ballast.unlink()


def run(folder: Path, *words: str) -> Ran:
    """One command line, in a process of its own."""
    preload()
    with tempfile.TemporaryFile() as output:

        def child() -> None:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            from mvc.cli.main import main

            code = main(["-C", os.fspath(folder), *words])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

        _, status = os.waitpid(fork(child), 0)
        output.seek(0)
        return Ran(os.waitstatus_to_exitcode(status), output.read().decode(errors="replace").strip())


# --- scenes of some megabytes ------------------------------------------------------------------------------


def _two(folder: Path) -> None:
    model = weights(0, SHAPES)
    repository = make_repository(folder)
    put(folder, {"model.safetensors": file_of(model), "noise.bin": noise(1, 300_000)})
    snapshot(repository, "one")
    put(folder, {"model.safetensors": file_of(tuned(model, 1)), "more.bin": noise(2, 300_000)})
    snapshot(repository, "two")


def _work(folder: Path) -> None:
    _two(folder)
    put(folder, {"model.safetensors": file_of(tuned(weights(7, SHAPES), 2)), "new.bin": noise(3, 900_000)})


def _branches(folder: Path) -> None:
    _two(folder)
    repository = open_repository(folder)
    switch_to(repository, "HEAD", new_branch="side")
    put(folder, {"side.bin": noise(4, 900_000), "side.safetensors": file_of(weights(3, SHAPES))})
    snapshot(repository, "side")
    switch_to(repository, "main")
    put(folder, {"ours.bin": noise(5, 100_000)})
    snapshot(repository, "ours")


def _garbage(folder: Path) -> None:
    _two(folder)
    for number in range(2):
        repository = open_repository(folder)
        put(folder, {"undone.bin": noise(10 + number, 1_500_000)})
        snapshot(repository, "undone")
        undo(repository, ME, now())
        (folder / "undone.bin").unlink(missing_ok=True)


LARGE: dict[str, Scene] = {
    "commit": Scene(_work, SCENES["commit"].act, ("commit", "-m", "three")),
    "checkout": Scene(_two, SCENES["checkout"].act, ("checkout", "HEAD~1")),
    "merge": Scene(_branches, SCENES["merge in conflict"].act, ("merge", "side")),
    "gc": Scene(_garbage, SCENES["gc"].act, ("gc", "--expire", "now"), quiet=True),
    "gc --repack": Scene(_garbage, SCENES["gc --repack"].act, SCENES["gc --repack"].words, quiet=True),
}
"""Commands that need room."""


def fill(name: str, what: str = "room", every: int = 1) -> Tally:
    """Run a command with more and more ``room``, or ``names``, until it has had enough twice."""
    tally = Tally()
    levels = (ROOM if what == "room" else NAMES)[::every]
    with disk(96) as workplace:
        stage = Stage(name, workplace, LARGE[name])
        enough = 0
        for level in levels:
            with (
                disk(64, 400) as place,
                tally.judged(f"python -m tests.full_disk --scene {name!r}  # {what} {level}"),
            ):
                enough += _fill_once(stage, place, what, level, tally)
            if enough == 2:
                break
        if not enough:
            with tally.judged(f"python -m tests.full_disk --scene {name!r}"):
                raise Broken(f"the most {what} was never enough")
    return tally


def _fill_once(stage: Stage, place: Path, what: str, level: int, tally: Tally) -> int:
    """One disk; 1 if the command found the room that it needed."""
    folder = stage.copy(place / "repo")
    before = _used(place)
    ballast = leave_room(place, level * 1024) if what == "room" else leave_names(place, level)
    ran = run(folder, *LARGE[stage.name].words)
    tally.counts["commands on a full disk"] += 1
    if ran.code not in (0, 3):
        raise Broken(f"exit code {ran.code}: {ran.said}")
    if ran.code == 3:
        tally.counts["had no room"] += 1
        if "space" not in ran.said or "hint" not in ran.said.lower():
            raise Broken(f"does not say what to do: {ran.said}")
    # looked at while the disk is still full: reading needs no room
    code = run(folder, "fsck", "--full").code
    if code != 0:
        raise Broken(f"fsck --full on the full disk ends with {code}")
    remove(ballast)
    stage.check(folder, acknowledged=ran.code == 0)
    if ran.code == 3:
        again = run(folder, *LARGE[stage.name].words)
        if again.code != 0:
            raise Broken(f"with room the same command ends with {again.code}: {again.said}")
        stage.check(folder, acknowledged=True)
    if stage.quiet and _used(place) >= before:
        raise Broken("the collection has freed nothing")
    return int(ran.code == 0)


def _used(place: Path) -> int:
    state = os.statvfs(place)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


# --- the story ---------------------------------------------------------------------------------------------


def story(data: Path) -> int:
    """A disk fills up in the middle of a commit of real checkpoints; the exit code."""
    files = sorted(path for path in data.rglob("*") if path.suffix in (".safetensors", ".pt", ".bin"))
    total, taken = 0, []
    for path in files:
        if total + path.stat().st_size <= 48 << 20:
            total += path.stat().st_size
            taken.append(path)
    if len(taken) < 4:
        print(f"left out: fewer than four checkpoints in {data}")
        return 0
    first, second = taken[: len(taken) // 2], taken[len(taken) // 2 :]
    bad: list[str] = []

    def expect(fact: bool, text: str) -> None:
        print(f"  {'yes' if fact else 'NO '}  {text}")
        if not fact:
            bad.append(text)

    with disk(2 * (total >> 20) + 64) as place:
        folder = place / "repo"
        folder.mkdir()
        run(folder, "init")
        _copy(data, first, folder)
        said = run(folder, "commit", "-m", "first")
        print(f"{len(first)} checkpoints committed ({said.said.splitlines()[0] if said.said else said.code})")
        expect(said.code == 0, "the first commit is acknowledged")
        _copy(data, second, folder)
        sources = {path: hashlib.sha256(data_).hexdigest() for path, data_, _mode in work_files(folder)}
        before, known = look(folder), versions(folder)
        stored = _used_by(folder / ".mvc")
        room = 2 << 20
        ballast = leave_room(place, room)
        print(
            f"{len(second)} more lie in the folder, {shown(room)} are left on the disk, and it is committed:"
        )
        ran = run(folder, "commit", "-m", "second")
        print("  " + "\n  ".join(ran.said.splitlines()))
        expect(ran.code == 3, f"it ends with exit code 3 ({ran.code})")
        expect("space" in ran.said, "it says what to do")
        now = {path: hashlib.sha256(data_).hexdigest() for path, data_, _mode in work_files(folder)}
        expect(now == sources, f"all {len(sources)} source files are as they were, by SHA-256")
        checked = run(folder, "fsck", "--full")
        expect(
            checked.code == 0,
            f"fsck --full, on the full disk, finds nothing ({checked.said.splitlines()[-1:]})",
        )
        expect(look(folder) == before, "HEAD, branches and log are as they were")
        expect(versions(folder) == known, "the first version reads back bit for bit")
        collected = run(folder, "gc")
        expect(collected.code == 0, f"gc runs on the full disk (exit code {collected.code})")
        remove(ballast)
        print("room is made, and the same command is run again:")
        ran = run(folder, "commit", "-m", "second")
        print("  " + "\n  ".join(ran.said.splitlines()))
        expect(ran.code == 0, "it is acknowledged")
        known |= versions(folder)
        assert_whole(folder, known)
        committed = {path: digest for content in known.values() for path, (digest, _mode) in content.items()}
        expect(committed == sources, "both versions read back as the source files, by SHA-256")
        print(f"the store took {shown(stored)} before and takes {shown(_used_by(folder / '.mvc'))} now")
    print("verdict: " + ("; ".join(bad) if bad else "source and repository are whole"))
    return 1 if bad else 0


def _copy(data: Path, files: list[Path], folder: Path) -> None:
    for path in files:
        target = folder / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _used_by(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main(arguments: list[str]) -> int:
    """The long form, or the story; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.full_disk", description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="a folder of real checkpoints")
    parser.add_argument("--scene", choices=list(LARGE), action="append", help="only this; may be repeated")
    parser.add_argument("--every", type=int, default=1, help="only each so many sizes")
    parser.add_argument("--jobs", type=int, help="processes; one for each core if not given")
    given = parser.parse_args(arguments)
    if INSIDE not in os.environ:
        reason = why_not()
        if reason is not None:
            print(f"left out: {reason}")
            return 0
        command = [*_namespace(), sys.executable, "-m", "tests.full_disk", *arguments]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode
    if given.data is not None:
        if not given.data.is_dir():
            print(f"left out: there is no folder {given.data}")
            return 0
        return story(given.data)
    names = given.scene or list(LARGE)
    tasks = [(name, what, given.every) for name in names for what in ("room", "names")]
    whole = not given.scene and given.every == 1
    return run_all("commands on small disks", fill, tasks, given.jobs, keep=whole)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
