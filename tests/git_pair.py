"""The same commands for real Git and for mvc, on two folders that must stay alike.

A command line is the same words for both wherever Git's words mean the same. mvc runs in this process, from
its command line on; both see one clock that goes on by a second per command. After every step
:meth:`Pair.compare` looks at work trees, refs, the graph behind them with the files of every commit, what is
in conflict and what ``status`` says.

Where mvc differs from Git on purpose, the steps of :class:`Pair` bring Git to do the same; these are all
such places:

* no staging area: ``git add`` stands before each Git command that looks at the index, and the index is made
  HEAD's again after it;
* a checkout looks at bytes: a file that has the wanted content already is in nobody's way, tracked or not;
* where a folder stands for a committed file, or the reverse, and there is uncommitted work, Git's checkout
  may overwrite it without a word or refuse where nothing would be lost, and ``--force`` removes what nobody
  tracks; such a checkout is left out, those of committed folders and files are not;
* ``checkout REV -- PATH`` refuses to overwrite uncommitted work, so mvc is given ``--force``; it never puts a
  file in a folder's place, or the reverse, which Git does: such a one is left out;
* Git cannot commit by path where a folder has taken a file's place; such a one is left out;
* ``commit --amend`` may leave a commit that changes nothing, so Git is given ``--allow-empty``;
* a merge, a pick and a revert look at bytes too: where Git refuses to overwrite uncommitted work with what is
  there already, mvc's is taken back by ``mvc undo``. Those beside uncommitted work with a folder for a file
  are left out, as above;
* where a file is in conflict that holds uncommitted work, mvc refuses: Git would leave the two mixed, and its
  ``--abort`` throws the work away. Git is brought back to where mvc stayed;
* Git's ``--abort`` may fail where a folder and a file changed places; it is helped;
* what concludes a merge takes the files that were in conflict and leaves other work uncommitted; Git is given
  just those files;
* labels that name a version by its id differ as ids do;
* where one side moved a file to a path at which the other one has an equal file of its own, and the other one
  changed it where it was, mvc tells of a conflict and Git loses one of the two files or the change; such a
  merge is left out;
* a branch or a tag that is to be made and is there already, at the same commit, is no error, so that a
  command which was killed can be tried again;
* nothing is known of empty folders; both remove those that they empty.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from mvc.cli.main import _run as run_words
from mvc.context import Context
from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.history.ancestry import merge_bases
from mvc.history.reader import read_manifest
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import EXECUTABLE, Timestamp
from mvc.ops import branch, tag
from mvc.ops.log import log
from mvc.ops.status import status
from mvc.repo import Repository
from mvc.underway.pending import PENDING, read_pending
from mvc.view import View
from mvc.workspace import files_of_tree

BEGAN = 1_700_000_000
WHO = ("Ada", "ada@example.org")
FAST = Path("/dev/shm")

Files = dict[str, tuple[bytes, bool]]
"""A folder's files: content and executable bit."""

CONFIG = """
[core]
    repositoryformatversion = 0
    filemode = true
    autocrlf = false
    fsync = none
    logallrefupdates = false
[gc]
    auto = 0
[maintenance]
    auto = false
[merge]
    renames = true
    directoryRenames = false
    conflictStyle = merge
[advice]
    detachedHead = false
"""


@cache
def template() -> Path:
    """A new Git repository's folder, to be copied: quicker than a process."""
    place = Path(tempfile.mkdtemp(prefix="git-template"))
    subprocess.run(
        ["git", "init", "-q", "--template=", "-b", "main", str(place)], check=True, capture_output=True
    )
    (place / ".git" / "config").write_text(CONFIG)
    return place / ".git"


class Version(NamedTuple):
    """What is compared of a commit."""

    parents: tuple[str, ...]
    files: dict[str, tuple[str, bool]]  # SHA-256 of the content, executable
    subject: str


def scanned(folder: Path, store: str) -> Files:
    """Every file below a folder but for the repository's own."""
    found: Files = {}
    for base, folders, names in os.walk(folder):
        if store in folders:
            folders.remove(store)
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                content = file.read()
            found[os.path.relpath(path, folder)] = (content, os.access(path, os.X_OK))
    return found


class Git:
    """A repository of real Git. Loose objects and refs are read here; only commands are processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / ".git"
        self.seconds = BEGAN
        self.said = b""
        folder.mkdir()
        shutil.copytree(template(), self.store)
        self._versions: dict[str, Version] = {}
        self._trees: dict[str, dict[str, tuple[str, bool]]] = {}
        self._digests: dict[str, str] = {}

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """One command; whatever it answers."""
        date = f"{self.seconds} +0000"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_EDITOR": "true",
            "GIT_MERGE_AUTOEDIT": "no",
            "GIT_AUTHOR_NAME": WHO[0],
            "GIT_AUTHOR_EMAIL": WHO[1],
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_NAME": WHO[0],
            "GIT_COMMITTER_EMAIL": WHO[1],
            "GIT_COMMITTER_DATE": date,
        }
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        self.said = done.stdout + done.stderr
        return done

    def lines(self, *words: str) -> list[str]:
        """What a command that succeeds prints."""
        done = self.run(*words)
        assert done.returncode in (0, 1), done
        return done.stdout.decode().split()

    def head(self) -> str:
        """The current branch's name, or the commit when HEAD is detached."""
        return (self.store / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")

    @property
    def under_way(self) -> str | None:
        """What has stopped and waits to be concluded."""
        for name, kind in (("MERGE", "merge"), ("CHERRY_PICK", "cherry-pick"), ("REVERT", "revert")):
            if (self.store / f"{name}_HEAD").exists():
                return kind
        return None

    def refs(self, kind: str) -> dict[str, str]:
        """Branches (``heads``) or ``tags``: name to commit."""
        found: dict[str, str] = {}
        packed = self.store / "packed-refs"
        for line in packed.read_text().splitlines() if packed.exists() else []:
            if f" refs/{kind}/" in line:
                found[line.split(f"refs/{kind}/")[1]] = line.split()[0]
        place = self.store / "refs" / kind
        for path in place.rglob("*") if place.exists() else []:
            if path.is_file():
                found[str(path.relative_to(place))] = path.read_text().strip()
        return found

    def head_commit(self) -> str | None:
        head = self.head()
        return head if is_id(head) else self.refs("heads").get(head)

    def resolve(self, revision: str) -> str | None:
        """The commit that HEAD, a branch, a tag or an id means; None if there is no such."""
        if revision == "HEAD":
            return self.head_commit()
        if is_id(revision):
            return revision
        return self.refs("heads").get(revision) or self.refs("tags").get(revision)

    def version(self, identity: str) -> Version:
        """A commit."""
        if identity not in self._versions:
            text = self._object(identity).decode()
            header, _, message = text.partition("\n\n")
            fields = [line.split(" ", 1) for line in header.splitlines()]
            tree = next(value for key, value in fields if key == "tree")
            parents = tuple(value for key, value in fields if key == "parent")
            subject = message.split("\n", 1)[0]
            self._versions[identity] = Version(parents, self._tree(tree), subject)
        return self._versions[identity]

    def blob(self, identity: str) -> bytes:
        """A file's content."""
        return self._object(identity)

    def _tree(self, identity: str) -> dict[str, tuple[str, bool]]:
        if identity not in self._trees:
            data, files = self._object(identity), {}
            while data:
                head, _, rest = data.partition(b"\0")
                mode, name = head.split(b" ", 1)
                child, data = rest[:20].hex(), rest[20:]
                if mode == b"40000":
                    for path, entry in self._tree(child).items():
                        files[f"{name.decode()}/{path}"] = entry
                else:
                    files[name.decode()] = (self._digest(child), mode == b"100755")
            self._trees[identity] = files
        return self._trees[identity]

    def _digest(self, identity: str) -> str:
        if identity not in self._digests:
            self._digests[identity] = sha256(self._object(identity)).hexdigest()
        return self._digests[identity]

    def _object(self, identity: str) -> bytes:
        data = zlib.decompress((self.store / "objects" / identity[:2] / identity[2:]).read_bytes())
        return data.partition(b"\0")[2]


def is_id(text: str) -> bool:
    return len(text) == 40 and all(letter in "0123456789abcdef" for letter in text)


def _content(file: tuple[str, bool] | None) -> str | None:
    return None if file is None else file[0]


@dataclass(frozen=True, slots=True)
class Clocked(Context):
    """A process whose clock stands still."""

    moment: int = BEGAN * 1_000_000

    def now(self) -> Timestamp:
        """The moment that the test says it is."""
        return Timestamp(self.moment, 0)


class Mvc:
    """A repository of mvc, driven by words in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = BEGAN
        self.said = ""
        folder.mkdir()
        assert self.run("init") == 0, self.said
        self._versions: dict[CommitId, Version] = {}
        self._digests: dict[object, str] = {}

    def run(self, *words: str) -> int:
        """One command; returns its exit code. A bug raises."""
        environment = {"MVC_AUTHOR_NAME": WHO[0], "MVC_AUTHOR_EMAIL": WHO[1]}
        context = Clocked(self.folder, environment, False, False, moment=self.seconds * 1_000_000)
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = run_words(list(words), context)
            except MvcError as error:
                if error.exit_code == 70:
                    raise
                code = error.exit_code
                err.write(f"{error.message} ({error.hint})")
        out.flush()
        self.said = out.buffer.getvalue().decode(errors="replace") + err.getvalue()  # type: ignore[attr-defined]
        assert code != 5, self.said  # damage
        return code

    @property
    def repository(self) -> Repository:
        return Repository.open(FileIO(), self.folder, Monitor())

    @contextlib.contextmanager
    def reading(self) -> Iterator[View]:
        with self.repository.reading() as view:
            yield view

    def version(self, view: View, identity: CommitId) -> Version:
        """A commit."""
        if identity not in self._versions:
            commit = view.commit(identity)
            files = {
                path: (self._digest(view, entry.id), entry.mode == EXECUTABLE)
                for path, entry in files_of_tree(view, commit.tree).items()
            }
            parents = tuple(parent.hex() for parent in commit.parents)
            self._versions[identity] = Version(parents, files, commit.subject)
        return self._versions[identity]

    def _digest(self, view: View, identity: object) -> str:
        if identity not in self._digests:
            manifest = read_manifest(view.objects, identity)  # type: ignore[arg-type]
            self._digests[identity] = manifest.sha256.hex()
        return self._digests[identity]


class Program(Mvc):
    """The same as a program that is started for each command; its clock is the real one."""

    def run(self, *words: str) -> int:
        """One command; returns its exit code."""
        environment = {**os.environ, "MVC_AUTHOR_NAME": WHO[0], "MVC_AUTHOR_EMAIL": WHO[1]}
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
        done = subprocess.run(
            [sys.executable, "-m", "mvc", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stdout + done.stderr
        assert done.returncode not in (5, 70), self.said  # damage, a bug
        return done.returncode


class Different(AssertionError):
    """Git and mvc do not agree."""


class Pair:
    """Git's and mvc's repository side by side; a method for each step that both can take."""

    def __init__(self, mvc: type[Mvc] = Mvc) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="oracle", dir=FAST if FAST.is_dir() else None))
        self.git = Git(self.place / "git")
        self.mvc = mvc(self.place / "mvc")
        self.ids: dict[str, str] = {}  # Git's ids to mvc's
        self.commits: list[str] = []  # Git's ids of all commits ever, oldest first
        self.steps: list[str] = []
        self.files: Files = {}

    def close(self) -> None:
        shutil.rmtree(self.place)

    # --- files -------------------------------------------------------------------------------------------
    def write(self, path: str, content: bytes, *, executable: bool | None = None) -> None:
        """Put a file into both folders, whatever stands in its way."""
        self.steps.append(f"write {path} {content[:40]!r}")
        known = self.files.get(path)
        mode = executable if executable is not None else known is not None and known[1]
        for folder in (self.git.folder, self.mvc.folder):
            place = folder / path
            for above in place.relative_to(folder).parents:
                if (folder / above).is_file():
                    (folder / above).unlink()
            if place.is_dir():
                shutil.rmtree(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o755 if mode else 0o644)
        self.files = scanned(self.mvc.folder, ".mvc")

    def delete(self, path: str) -> None:
        """Remove a file from both folders, and the folder that it leaves empty."""
        self.steps.append(f"delete {path}")
        for folder in (self.git.folder, self.mvc.folder):
            (folder / path).unlink()
            with contextlib.suppress(OSError):
                if (folder / path).parent != folder:
                    (folder / path).parent.rmdir()
        self.files.pop(path, None)

    # --- commands ----------------------------------------------------------------------------------------
    def _under_way(self) -> tuple[bool, bool]:
        """Whether Git and mvc have a merge, pick or revert under way."""
        with self.mvc.reading() as view:
            return self.git.under_way is not None, view.refs.value(PENDING) is not None

    @property
    def pending(self) -> str | None:
        """What is under way: merge, cherry-pick or revert."""
        return self.git.under_way

    def both(self, *words: str, mvc: tuple[str, ...] | None = None, revision: str | None = None) -> bool:
        """One command line for both; returns whether they did it.

        ``revision`` stands behind the words, in each one's own ids; ``mvc`` replaces the words for mvc.

        Raises:
            Different: one did it, the other refused.
        """
        theirs = (*words, *([] if revision is None else [revision]))
        ours = (*(words if mvc is None else mvc), *([] if revision is None else [self.named(revision)]))
        self.steps.append(" ".join(theirs))
        done = self.git.run(*theirs)
        code = self.mvc.run(*ours)
        self.files_now()
        under_way = self._under_way()
        if (done.returncode == 0) != (code == 0) or under_way[0] != under_way[1]:
            raise Different(
                f"git {' '.join(theirs)}: {done.returncode}, {(done.stdout + done.stderr).decode()!r}\n"
                f"mvc {' '.join(ours)}: {code}, {self.mvc.said!r}\n"
                f"under way: {under_way}"
            )
        return code == 0

    def named(self, revision: str) -> str:
        """A revision of Git's as mvc calls it."""
        return self.ids[revision] if is_id(revision) else revision

    def tick(self) -> None:
        """The next second."""
        self.git.seconds += 1
        self.mvc.seconds += 1

    def stage(self, *, removals: bool = True) -> None:
        """Tell Git of the work tree."""
        assert self.git.run("add", "-A" if removals else "--no-all", ".").returncode == 0

    def unstage(self) -> None:
        """Make Git's index what HEAD has."""
        if self.git.head_commit() is None:
            (self.git.store / "index").unlink(missing_ok=True)
        else:
            assert self.git.run("reset", "-q").returncode in (0, 1)

    @property
    def head_files(self) -> dict[str, tuple[str, bool]]:
        """The files of HEAD's version."""
        head = self.git.head_commit()
        return {} if head is None else self.git.version(head).files

    @property
    def dirty(self) -> set[str]:
        """Paths at which the work tree is not HEAD's version."""
        work = {path: (sha256(data).hexdigest(), mode) for path, (data, mode) in self.files.items()}
        head = self.head_files
        return {path for path in {*work, *head} if work.get(path) != head.get(path)}

    def _twisted(self, other: Collection[str]) -> bool:
        """Whether a version has a file where the work tree has a folder, or the reverse."""
        work = set(self.files)
        return any(
            above in there
            for paths, there in ((work - set(other), other), (set(other) - work, work))
            for path in paths
            for above in (path[:end] for end, letter in enumerate(path) if letter == "/")
        )

    def commit(self, message: str, *options: str) -> bool:
        """Everything in the folder."""
        self.tick()
        self.stage()
        empty = ("--allow-empty",) if "--amend" in options else ()
        done = self.both(
            "commit", "-q", "-m", message, *options, *empty, mvc=("commit", "-m", message, *options)
        )
        if not done:
            self.unstage()
        return done

    def commit_paths(self, message: str, path: str) -> bool:
        """One file or folder."""
        if self._twisted(self.head_files):
            return False
        self.tick()
        self.git.run("add", "-A", "--", path)  # what Git does not know, it does not commit by path
        done = self.both("commit", "-q", "-m", message, "--", path, mvc=("commit", "-m", message, "--", path))
        self.unstage()
        return done

    def checkout(self, revision: str, *options: str) -> bool:
        """A whole version."""
        twisted = self._twisted(self.head_files) or self._in_the_way(revision)
        if twisted and self.dirty:
            return False
        return self._moved(("checkout", "-q", *options), ("checkout", *options), revision)

    def checkout_path(self, revision: str, path: str) -> bool:
        """A file or folder of a version."""
        target = self.git.resolve(revision)
        if target is not None and self._twisted(self.git.version(target).files):
            return False
        self.tick()
        ours = ("checkout", "--force", self.named(revision), "--", path)
        done = self.both("checkout", "-q", revision, "--", path, mvc=ours)
        self.unstage()
        return done

    def switch(self, *words: str, revision: str | None = None) -> bool:
        """``git switch``: as a checkout."""
        if self.dirty and (self._twisted(self.head_files) or self._in_the_way(revision)):
            return False
        return self._moved(("switch", "-q", *words), ("switch", *words), revision)

    def _moved(self, theirs: tuple[str, ...], ours: tuple[str, ...], revision: str | None) -> bool:
        self.tick()
        changed = bool(self.dirty)
        if changed and not {"--force", "--discard-changes"}.intersection(theirs):
            self.stage(removals=False)
        done = self.both(*theirs, mvc=ours, revision=revision)
        if changed:
            self.unstage()
        return done

    def _in_the_way(self, revision: str | None) -> bool:
        """Whether a version has a file where the work tree has a folder, or the reverse."""
        target = None if revision is None else self.git.resolve(revision)
        return target is not None and self._twisted(self.git.version(target).files)

    def join(self, *words: str, revision: str) -> bool:
        """``merge``, ``cherry-pick`` or ``revert`` of a version; False where it refused or stopped."""
        dirty, before = self.dirty, self.files
        if dirty and (self._twisted(self.head_files) or self._in_the_way(revision)):
            return False
        if self._moved_to_an_equal(revision):
            return False
        self.tick()
        exact = ("-X", "find-renames=100%")
        quiet = ("--no-edit",) if words[0] == "revert" else ()
        try:
            done = self.both(words[0], *exact, *quiet, *words[1:], mvc=words, revision=revision)
        except Different:
            if self._under_way() == (True, False) and dirty.intersection(self.conflicts):
                self._bring_back(words[0], "--abort")
                return False
            if b"would be overwritten" in self.git.said and self._kept(dirty, before):
                self.steps[-1] += "   (Git refused)"
                assert self.mvc.run("undo") == 0, self.mvc.said
                return False
            raise
        if self.pending is not None:
            self._compare_conflicts()
        return done

    def _moved_to_an_equal(self, revision: str) -> bool:
        """Whether, since any version there is, one side moved a file to where the other one has an equal file
        of its own, and the other one changed it where it was."""
        target = self.git.resolve(revision)
        if target is None:
            return False
        ours, theirs = self.head_files, self.git.version(target).files
        alike = {path for path in ours.keys() & theirs.keys() if ours[path][0] == theirs[path][0]}
        for base in (self.git.version(commit).files for commit in self.ids):
            new = {ours[path][0] for path in alike - base.keys()}
            for path, (content, _mode) in base.items():
                sides = (ours.get(path), theirs.get(path))
                if (
                    content in new
                    and None in sides
                    and sides != (None, None)
                    and (content not in map(_content, sides))
                ):
                    return True
        return False

    def _kept(self, dirty: set[str], before: Files) -> bool:
        """Whether the work that was uncommitted is all there."""
        return bool(dirty) and all(self.files.get(path) == before.get(path) for path in dirty)

    def _bring_back(self, *words: str) -> None:
        """Git to where mvc is: with these words nothing is under way any more; then the work tree."""
        assert self.git.run(*words).returncode == 0, self.git.said
        self.files_now()
        theirs = scanned(self.git.folder, ".git")
        for path in set(theirs) - set(self.files):
            (self.git.folder / path).unlink()
        for path, (content, executable) in self.files.items():
            if theirs.get(path) != (content, executable):
                place = self.git.folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                place.chmod(0o755 if executable else 0o644)
        self.steps[-1] += "   (Git brought back)"

    @property
    def conflicts(self) -> list[str]:
        """What Git calls unmerged."""
        found = self.git.run("diff", "--name-only", "--diff-filter=U", "-z").stdout.decode()
        return sorted(path for path in found.split("\0") if path)

    def _compare_conflicts(self) -> None:
        with self.mvc.reading() as view:
            pending = read_pending(view)
        assert pending is not None
        same("what is under way", self.pending, pending.kind)
        ours = {conflict.path for conflict in pending.conflicts}
        same("conflicts", sorted(map(without_id, self.conflicts)), sorted(map(without_id, ours)))

    def take(self, path: str, side: str) -> bool:
        """One side of a file in conflict; False where that side has none."""
        stage = {"ours": "2", "theirs": "3"}[side]
        if f" {stage}\t" not in self.git.run("ls-files", "-u", "--", path).stdout.decode():
            return False
        self.tick()
        return self.both("checkout", "-q", f"--{side}", "--", path, mvc=("restore", f"--{side}", "--", path))

    def go_on(self, paths: Collection[str]) -> bool:
        """Conclude what is under way, whose conflicts at these paths are resolved."""
        kind = self.pending
        assert kind is not None
        self.tick()
        if paths:
            assert self.git.run("add", "-A", "--", *paths).returncode == 0
        theirs = ("commit", "-q", "--no-edit") if kind == "merge" else (kind, "--continue")
        return self.both(*theirs, mvc=(kind, "--continue"))

    def give_up(self) -> None:
        """Take back what is under way."""
        kind = self.pending
        assert kind is not None
        self.tick()
        try:
            self.both(kind, "--abort")
        except Different:
            if self._under_way() != (True, False):
                raise
            self._bring_back("reset", "--hard", "-q")

    def reset(self, mode: str, revision: str) -> bool:
        """The branch to another version."""
        if mode == "--hard" and (self._twisted(self.head_files) or self._in_the_way(revision)):
            return False
        self.tick()
        done = self.both("reset", "-q", mode, mvc=("reset", mode), revision=revision)
        if mode == "--soft":
            self.unstage()
        return done

    def restore(self, path: str, revision: str | None = None) -> bool:
        """Files as they are in a version, or in HEAD."""
        if self._twisted(self.head_files) or self._in_the_way(revision):
            return False
        self.tick()
        theirs = () if revision is None else ("--source", revision)
        ours = () if revision is None else ("--source", self.named(revision))
        return self.both("restore", *theirs, "--", path, mvc=("restore", *ours, "--", path))

    def files_now(self) -> Files:
        """What lies in mvc's folder."""
        self.files = scanned(self.mvc.folder, ".mvc")
        return self.files

    # --- looking -----------------------------------------------------------------------------------------
    def compare(self, *, deep: bool = False) -> None:
        """Both are in the same state.

        Raises:
            Different: they are not.
        """
        self.files_now()
        theirs = scanned(self.git.folder, ".git")
        if without_ids(theirs) != without_ids(self.files):
            apart = {path for path in {*theirs, *self.files} if theirs.get(path) != self.files.get(path)}
            raise Different(
                f"work trees: git {[(p, theirs.get(p)) for p in apart]}\n"
                f"            mvc {[(p, self.files.get(p)) for p in apart]}"
            )
        with self.mvc.reading() as view:
            self._compare_refs(view)
            if deep:
                self._compare_graph(view)
        self._compare_status()

    def _compare_refs(self, view: View) -> None:
        heads, tags = self.git.refs("heads"), self.git.refs("tags")
        ours = {row.name: row.target for row in branch.branches(view)}
        our_tags = {row.name: row.target for row in tag.tags(view)}
        same("branches", sorted(heads), sorted(ours))
        same("tags", sorted(tags), sorted(our_tags))
        head = self.git.head()
        if is_id(head):
            same("whether HEAD is detached", True, isinstance(view.head, CommitId))
            assert isinstance(view.head, CommitId)
            self._match(view, head, view.head)
        else:
            same("HEAD", head, view.branch())
        for name, identity in heads.items():
            self._match(view, identity, ours[name])
        for name, identity in tags.items():
            self._match(view, identity, our_tags[name])

    def _match(self, view: View, theirs: str, ours: CommitId) -> None:
        """The two commits, and all before them, are the same."""
        waiting = [(theirs, ours)]
        found: list[str] = []
        while waiting:
            theirs, ours = waiting.pop()
            if theirs in self.ids:
                same("a commit", self.ids[theirs], ours.hex())
                continue
            first, second = self.git.version(theirs), self.mvc.version(view, ours)
            same("files of a commit", first.files, second.files)
            same("subjects", first.subject, second.subject)
            same("number of parents", len(first.parents), len(second.parents))
            self.ids[theirs] = ours.hex()
            found.append(theirs)
            waiting += [
                (parent, CommitId.from_hex(other))
                for parent, other in zip(first.parents, second.parents, strict=True)
            ]
        self.commits += reversed(found)

    def _compare_graph(self, view: View) -> None:
        head = self.git.head_commit()
        if head is None:
            return
        order = self.git.lines("log", "--format=%H")
        same("log", [self.ids[one] for one in order], [entry.id.hex() for entry in log(view)])
        for name in sorted(self.git.refs("heads")):
            theirs = self.git.lines("merge-base", "--all", head, name)
            ours = [base.hex() for base in merge_bases(view.objects, self._ours(head), self._ours(name))]
            same(f"merge bases with {name}", sorted(self.ids[one] for one in theirs), sorted(ours))

    def _ours(self, revision: str) -> CommitId:
        identity = self.git.resolve(revision)
        assert identity is not None
        return CommitId.from_hex(self.ids[identity])

    def _compare_status(self) -> None:
        state = status(self.mvc.repository).state
        head = self.head_files
        work = {path: (sha256(data).hexdigest(), mode) for path, (data, mode) in self.files.items()}
        same("what is new", sorted(set(work) - set(head)), sorted(state.added))
        same("what is gone", sorted(set(head) - set(work)), sorted(state.deleted))
        changed = sorted(path for path in set(work) & set(head) if work[path] != head[path])
        same("what is changed", changed, sorted(state.modified))

    def compare_with_git_status(self) -> None:
        """What ``git status`` calls changed is what mvc does; only where nothing is under way."""
        self.stage()
        found = self.git.run("status", "--porcelain", "-z", "--no-renames").stdout.decode().split("\0")
        sets: dict[str, list[str]] = {"A": [], "M": [], "D": []}
        for row in found:
            if row:
                sets[row[0]].append(row[3:])
        self.unstage()
        state = status(self.mvc.repository).state
        same("git status", sets, {"A": state.added, "M": state.modified, "D": state.deleted})


_ID = re.compile(rb"[0-9a-f]{7,64}")


def without_id(path: str) -> str:
    """The name of a file that was moved aside, without a version's id."""
    return _ID.sub(b"ID", path.encode()).decode() if "~" in path else path


def without_ids(files: Files) -> Files:
    """Files whose conflict markers, and names of files moved aside, name no versions by id."""
    return {
        without_id(path): (
            b"\n".join(
                _ID.sub(b"ID", line) if line[:7] in (b"<<<<<<<", b">>>>>>>") else line
                for line in data.split(b"\n")
            ),
            executable,
        )
        for path, (data, executable) in files.items()
    }


def same(what: str, theirs: object, ours: object) -> None:
    """Git's and mvc's answer.

    Raises:
        Different: they are not equal.
    """
    if theirs != ours:
        raise Different(f"{what}: git {theirs!r}\n{' ' * len(what)}  mvc {ours!r}")
