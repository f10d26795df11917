"""A Git repository, asked by running ``git``: no hook, filter, helper or other program that it names is run,
and no network is used.

The environment that Git gets is made here; of the caller's only ``PATH`` goes in. System-wide and personal
settings are not read, so a repository means the same for everybody.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from mvc.errors import StorageError, UserError
from mvc.text import one_line

MAX_OBJECT_BYTES = 64 << 20
"""Of a tree, commit or tag."""

_CHUNK = 1 << 20
_GIT = (
    "git",
    "--no-pager",
    "--no-optional-locks",
    "--no-replace-objects",
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "protocol.allow=never"),
    *("-c", "safe.directory=*"),  # nothing is run that the repository of another user names
)
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks, by whatever its settings name
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}


class GitRef(NamedTuple):
    """A branch or tag: its full name, and the object and kind of object that it names."""

    name: str
    id: str
    kind: str


class Git:
    """The repository of exactly this folder, bare or with a work tree; ``environment`` gives ``PATH``."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        path = environment.get("PATH")
        self._environment = _VARIABLES if path is None else {**_VARIABLES, "PATH": path}
        self._command = [*_GIT, "-C", str(folder)]
        inner = folder / ".git"
        self._command += ["--git-dir", str(inner if inner.exists() else folder)]
        told = self.run("rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format")
        common, _, form = told.decode("utf-8", "surrogateescape").strip("\n").rpartition("\n")
        self.common = Path(common)
        """Where what all work trees share lies: ``.git`` itself."""
        self.id_bytes = 32 if form == "sha256" else 20

    @staticmethod
    def is_repository(folder: Path) -> bool:
        """Whether a folder looks like one, by its names alone."""
        bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()
        return bare or (folder / ".git").exists()

    def run(self, *words: str) -> bytes:
        """What a command prints.

        Raises:
            UserError: it refuses, or there is no Git.
        """
        with _git_needed():
            done = subprocess.run(
                [*self._command, *words], env=self._environment, stdin=subprocess.DEVNULL, capture_output=True
            )
        if done.returncode:
            why = one_line(done.stderr.decode(errors="replace").strip().split("\n")[-1])
            raise UserError(f"git {words[0]}: {why}", hint="run 'git fsck' there")
        return done.stdout

    def refs(self) -> list[GitRef]:
        """All branches and tags, by name."""
        text = self.run(
            "for-each-ref", "--format=%(refname)%00%(objectname)%00%(objecttype)", "refs/heads", "refs/tags"
        )
        rows = [row.split("\0") for row in text.decode("utf-8", "surrogateescape").splitlines()]
        return [GitRef(*row) for row in rows if len(row) == 3]

    def head(self) -> str | None:
        """The current branch's full name; None where there is none."""
        try:
            return self.run("symbolic-ref", "--quiet", "HEAD").decode("utf-8", "surrogateescape").strip()
        except UserError:
            return None

    def history(self, tips: list[str]) -> list[tuple[str, tuple[str, ...]]]:
        """All commits that some lead to, with their parents, each behind its parents."""
        if not tips:
            return []
        with _git_needed():
            done = subprocess.run(
                [*self._command, "rev-list", "--topo-order", "--reverse", "--parents", "--stdin"],
                env=self._environment,
                input="".join(f"{tip}\n" for tip in tips).encode(),
                capture_output=True,
            )
        if done.returncode:
            why = one_line(done.stderr.decode(errors="replace").strip().split("\n")[-1])
            raise UserError(f"git rev-list: {why}", hint="run 'git fsck' there")
        rows = (line.split() for line in done.stdout.decode().splitlines())
        return [(row[0], tuple(row[1:])) for row in rows if row]

    @contextmanager
    def objects(self) -> Iterator[GitObjects]:
        """Read objects, by one process for all of them."""
        with _git_needed():
            process = self._start("--batch")
        reader = GitObjects(process, lambda: self._start("--batch-check"))
        try:
            yield reader
        finally:
            reader.close()

    def _start(self, form: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._command, "cat-file", form],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


class GitObjects:
    """Objects by their ids in hexadecimal; from one thread. Get one from :meth:`Git.objects`."""

    def __init__(
        self, contents: subprocess.Popen[bytes], start: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        self._contents = contents
        self._start = start
        self._sizes: subprocess.Popen[bytes] | None = None

    def read(self, identity: str, kind: str, most: int = MAX_OBJECT_BYTES) -> bytes:
        """All bytes of an object.

        Raises:
            UserError: it is missing, of another kind, or larger.
        """
        size = self._asked(self._contents, identity, kind)
        data = _exactly(_out(self._contents), size) if size <= most else None
        if data is None:
            self.close()  # the rest of it stands in the pipe
            raise UserError(
                f"{kind} {identity[:12]} of the Git repository has {size:,} bytes, which is too many"
            )
        _exactly(_out(self._contents), 1)
        return data

    def size(self, identity: str) -> int:
        """Bytes of a blob.

        Raises:
            UserError: it is missing.
        """
        if self._sizes is None:
            self._sizes = self._start()
        return self._asked(self._sizes, identity, "blob")

    def copy(self, identity: str, write: Callable[[bytes], object]) -> None:
        """Hand on a blob's bytes piece by piece.

        Raises:
            UserError: it is missing.
        """
        left = self._asked(self._contents, identity, "blob")
        out = _out(self._contents)
        while left:
            piece = _exactly(out, min(left, _CHUNK))
            left -= len(piece)
            write(piece)
        _exactly(out, 1)

    def close(self) -> None:
        """End the processes."""
        for process in (self._contents, self._sizes):
            if process is not None and process.returncode is None:
                process.kill()
                process.communicate()

    def _asked(self, process: subprocess.Popen[bytes], identity: str, kind: str) -> int:
        if process.stdin is None:
            raise AssertionError("the process was started with a pipe")
        try:
            process.stdin.write(identity.encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise StorageError(f"git ended early: {error}", hint="run 'git fsck' there") from error
        words = _out(process).readline(1000).split()
        if len(words) == 3 and words[1] == kind.encode():
            return int(words[2])
        if words[1:] == [b"missing"]:
            raise UserError(
                f"the Git repository lacks {kind} {identity[:12]}",
                hint="fetch all of it first: 'git fetch --refetch' in a partial clone",
            )
        raise UserError(
            f"{identity[:12]} of the Git repository is no sound {kind}", hint="run 'git fsck' there"
        )


def _out(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise AssertionError("the process was started with a pipe")
    return process.stdout


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise StorageError("git ended early", hint="run 'git fsck' there")
    return data


@contextmanager
def _git_needed() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            "there is no git on this machine", hint="install it: the history is read by it"
        ) from None
    except OSError as error:
        raise StorageError(f"git cannot be run: {error}") from error
