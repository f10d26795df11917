"""The story that ``mvc demo`` tells: train, commit, kill, resume, compare, go back; every claim checked."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mvc.demo.gitlfs import GitLfs, folder_bytes, installed
from mvc.demo.record import Record, read_record, verify
from mvc.demo.shell import Child, Failed, Shell, isolated
from mvc.errors import UserError

EVERY = 12
LEAST, MOST = 6 * EVERY, 8 * EVERY
VERSIONS_BEFORE_KILL = 3
POLL_SECONDS = 0.001
TRAINER = "mvc.demo.training"


def run(write: Callable[[str], None], *, keep: Path | None = None, seconds: float = 8.0) -> int:
    """Tell the story; returns 0 when everything that it shows was verified, else 1.

    ``write`` gets one line at a time, without its end. All happens in a temporary folder that is
    removed, or in ``keep``, which stays. ``seconds`` is how long the model is trained, twice; slow machines
    get fewer versions, never less than six.

    Raises:
        UserError: ``keep`` is there already and is no empty folder.
    """
    began = time.perf_counter()
    with _place(keep) as folder:
        home = folder / "home"
        home.mkdir()
        shell = Shell(folder, isolated(home), write)
        try:
            _Story(shell, folder / "model").tell(seconds)
        except Failed as failure:
            write("")
            write(f"FAILED: {failure}")
            return 1
    write(
        f"Verified, in {time.perf_counter() - began:.0f} s."
        + (f" Everything lies in {keep}." if keep else "")
    )
    return 0


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError(f"{keep} is a file", hint="name a new folder") from None
        if any(keep.iterdir()):
            raise UserError(f"{keep} is not empty", hint="name a new folder")
        yield keep.resolve()
        return
    # resolved, because a temporary folder may lie behind a link, which a path in a message should not
    folder = Path(tempfile.mkdtemp(prefix="mvc-demo-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class _Version:
    """One committed version: its full id, and the training step that its message names."""

    id: str
    step: int


class _Story:
    """The acts, in order. Each checks what it shows and raises :class:`Failed` if it is not so."""

    def __init__(self, shell: Shell, repository: Path) -> None:
        self._outside = shell
        self._inside = Shell(repository, shell.environment, shell.write)
        self._repository = repository
        self._record_path = shell.folder / "record.jsonl"

    def tell(self, seconds: float) -> None:
        """All of it."""
        reference = self._train_without_mvc(seconds)
        self._train_and_kill(reference.last)
        self._look_at_what_is_left()
        self._resume(reference)
        self._look_back()
        self._return_to_the_tag()
        self._compare_every_version()

    # --- the acts ------------------------------------------------------------------------------------------
    def _train_without_mvc(self, seconds: float) -> Record:
        self._outside.say(
            "A language model of 1.4 million parameters, trained with AdamW in numpy. First a run that "
            "nothing disturbs and that commits nothing: what the other run must arrive at, bit for bit."
        )
        arguments = ["reference", "--steps", str(MOST), "--every", str(EVERY), "--no-commit"]
        arguments += ["--record", "reference.jsonl", "--stop-after", f"{seconds:g}", "--least", str(LEAST)]
        with self._outside.start(TRAINER, *arguments) as child:
            self._follow(child)
        return read_record(self._outside.folder / "reference.jsonl")

    def _train_and_kill(self, steps: int) -> None:
        self._outside.say("Now the same run in a repository.")
        self._outside.mvc("init", self._repository.name)
        self._outside.say(
            f"Every {EVERY} steps the trainer writes bf16 weights, fp32 master weights with both Adam "
            "moments and a small JSON file, and runs "
            f'mvc commit -q -m "step {EVERY}" --metric loss=… --param lr=… '
            f"After {VERSIONS_BEFORE_KILL} versions it is killed with signal 9, children and all, while a "
            "commit is writing its pack."
        )
        resume = False
        while not self._killed_in_a_commit(steps, resume):
            if self._versions()[0].step >= steps:
                raise Failed(
                    "no commit could be caught in the middle: each was over before the signal arrived"
                )
            resume = True
            self._outside.say("That commit was over before the signal arrived. Once more.")

    def _killed_in_a_commit(self, steps: int, resume: bool) -> bool:
        """Run the trainer and kill it in a commit; False when that commit was completed all the same."""
        # resuming writes temporary files too, which are not a commit's: wait until it says that it is over
        mark, wanted = ("resumed", 1) if resume else ("committed", VERSIONS_BEFORE_KILL)
        with self._start(steps, resume) as child:
            while wanted > 0 or not self._unfinished():
                lines = child.read(POLL_SECONDS)
                if lines is None:
                    raise Failed("the trainer ended before it could be killed in a commit")
                self._inside.show("\n".join(lines))
                wanted -= sum(mark in line for line in lines)
            status = child.kill()
        if status != -signal.SIGKILL:
            raise Failed(f"the trainer should have died of signal 9 and ended with status {status}")
        left = self._unfinished()
        step = read_record(self._record_path).last
        self._inside.show(f"killed -9 while it committed step {step}")
        if self._versions()[0].step == step:
            return False
        for path, size in left.items():
            self._inside.show(f"left behind: {path.relative_to(self._repository)}, {size / 1e6:.1f} MB")
        return True

    def _look_at_what_is_left(self) -> None:
        self._inside.say(
            "A commit is made visible by one rename, after everything that it needs is on disk. So the "
            "half-made one is no version and no damage. The newest complete one gets a tag."
        )
        self._inside.mvc("fsck")
        self._inside.mvc("log", "--oneline", "-n", "5")
        self._inside.mvc("tag", "v1")

    def _resume(self, reference: Record) -> None:
        self._inside.say(
            "The trainer goes on from the last version: mvc checkout --force HEAD, then it trains."
        )
        with self._start(reference.last, resume=True) as child:
            self._follow(child)
        record = read_record(self._record_path)
        if record.files != reference.files:
            different = [step for step in reference.files if record.files.get(step) != reference.files[step]]
            raise Failed(f"the resumed run differs from the undisturbed one at steps {different}")
        verify(self._repository, reference.files[reference.last], "the work tree after training")
        self._inside.say(
            f"Every file of all {len(record.files)} checkpoints, those after the crash too, has the SHA-256 "
            "that it has in the undisturbed run. The last ones:"
        )
        for name, (size, sha256) in reference.files[reference.last].items():
            self._inside.show(f"{sha256[:16]}…  {name}, {size:,} bytes, both runs")

    def _look_back(self) -> None:
        self._inside.say(
            "What happened, what the last version is, what changed in it, and what all of them cost:"
        )
        self._inside.mvc("log", "--oneline", "-n", "5")
        self._inside.mvc("show", "HEAD")
        self._inside.mvc("diff", "HEAD~1", "HEAD", "--", "model.safetensors")
        self._inside.mvc("stats")

    def _return_to_the_tag(self) -> None:
        self._inside.say("Back to the tag, and forward again.")
        step = next(version.step for version in self._versions("v1"))
        record = read_record(self._record_path)
        self._inside.mvc("checkout", "v1")
        verify(self._repository, record.files[step], "v1")
        self._inside.show(f"the files of step {step}, byte for byte")
        self._inside.mvc("checkout", "main")
        verify(self._repository, record.files[record.last], "main")
        self._inside.mvc("status")
        if self._inside.ask("status")["clean"] is not True:
            raise Failed("the work tree is not clean after a checkout")

    def _compare_every_version(self) -> None:
        versions = self._versions()[::-1]
        record = read_record(self._record_path)
        if [version.step for version in versions] != sorted(record.files):
            raise Failed(
                f"trained {sorted(record.files)}, committed {[version.step for version in versions]}"
            )
        peer = None
        if installed(self._outside.environment, self._outside.folder):
            peer = GitLfs(self._outside.folder / "git-lfs", self._outside.environment)
        for version in versions:
            self._inside.quietly("checkout", "-q", version.id)
            files = record.files[version.step]
            verify(self._repository, files, f"step {version.step}")
            if peer is not None:
                peer.commit(self._repository, files, f"step {version.step}")
        self._inside.quietly("checkout", "-q", "main")
        self._inside.say(
            f"All {len(versions)} versions were checked out again, and every file has the SHA-256 that the "
            "trainer recorded. Now every stored byte is read and checked:"
        )
        self._inside.mvc("fsck", "--full")
        self._inside.say(
            f"What the {len(versions)} versions take, all files of a store counted. Six bytes in seven are "
            "the optimizer's fp32 numbers, whose last bits are noise. Times include every start of a "
            "program; mvc waits until a version is on disk, git-lfs does not."
        )
        self._print_costs(record, peer)

    def _print_costs(self, record: Record, peer: GitLfs | None) -> None:
        raw = sum(size for files in record.files.values() for size, _sha256 in files.values())

        def row(name: str, stored: int, seconds: float | None = None) -> None:
            commits = "" if seconds is None else f"   committed in {seconds:.2f} s"
            ratio = f"stored ÷ raw {stored / raw:.3f}"
            self._inside.write(f"  {name:13} {stored / 1e6:8.1f} MB   {ratio}{commits}")

        row("plain copies", raw)
        if peer is None:
            self._inside.write("  git-lfs is not installed, so there is no row for it")
        else:
            row("git-lfs", peer.stored_bytes(), peer.seconds)
        row("mvc", folder_bytes(self._repository / ".mvc"), sum(record.commit_seconds.values()))
        self._inside.write("")

    # --- what they share -----------------------------------------------------------------------------------
    def _start(self, steps: int, resume: bool) -> Child:
        arguments = [
            ".",
            "--steps",
            str(steps),
            "--every",
            str(EVERY),
            "--record",
            f"../{self._record_path.name}",
        ]
        return self._inside.start(TRAINER, *arguments, *(["--resume"] if resume else []))

    def _follow(self, child: Child) -> None:
        """Show what a child says until its end."""
        while (lines := child.read(1.0)) is not None:
            self._inside.show("\n".join(lines))
        if status := child.wait():
            raise Failed(f"the trainer ended with status {status}")

    def _unfinished(self) -> dict[Path, int]:
        """Files that a commit has begun and not yet given their names, with their sizes."""
        found = {}
        for path in (self._repository / ".mvc" / "tmp").iterdir():
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue  # it has got its name since
            if size:
                found[path] = size
        return found

    def _versions(self, revision: str = "HEAD") -> list[_Version]:
        """Committed versions, newest first."""
        return [
            _Version(entry["id"], int(entry["message"].removeprefix("step ")))
            for entry in self._inside.ask("log", revision)
        ]
