"""What other tools keep versions in, made by hand: nothing but Git has to be installed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

from engine import ME, now

from mvc.fileio import FileIO
from mvc.history.ancestry import Links
from mvc.history.reader import read_manifest
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId
from mvc.objects import EXECUTABLE, Commit
from mvc.ops.import_ import Imported, Wish, import_versions
from mvc.refs import peeled_target
from mvc.repo import Repository
from mvc.restore import file_pieces

WHO = {
    "GIT_AUTHOR_NAME": "Grace Hopper",
    "GIT_AUTHOR_EMAIL": "grace@example.org",
    "GIT_COMMITTER_NAME": "Somebody Else",
    "GIT_COMMITTER_EMAIL": "else@example.org",
}


class GitSource:
    """A Git repository with a work tree, whose commits are made from files that lie there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 1_600_000_000
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--template=", "-b", "main")

    def git(self, *words: str, **variables: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **WHO,
            **variables,
        }
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def write(self, path: str, data: bytes) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def commit(self, message: str, zone: str = "+0130") -> str:
        self.seconds += 60
        date = f"{self.seconds} {zone}"
        self.git("add", "-A", "--force")
        self.git(
            "commit", "-q", "--allow-empty", "-m", message, GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date
        )
        return self.git("rev-parse", "HEAD")

    def lfs(self, path: str, data: bytes, *, stored: bool = True) -> Path:
        """A file that git-lfs keeps: its pointer in the work tree, and the object."""
        oid = hashlib.sha256(data).hexdigest()
        self.write(
            path, f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()
        )
        place = self.lfs_object(oid)
        if stored:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return place

    def lfs_object(self, oid: str) -> Path:
        return self.folder / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid

    def dvc_object(
        self, data: bytes, *, suffix: str = "", old: bool = False, cache: str = ".dvc/cache"
    ) -> str:
        """Put bytes into DVC's cache; returns their MD5."""
        md5 = hashlib.md5(data).hexdigest()
        place = self.folder / cache / ("" if old else "files/md5") / md5[:2] / (md5[2:] + suffix)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return md5

    def dvc_folder(self, files: dict[str, bytes]) -> str:
        rows = [{"md5": self.dvc_object(data), "relpath": path} for path, data in sorted(files.items())]
        return self.dvc_object(json.dumps(rows).encode(), suffix=".dir")


class HubSource:
    """A model's folder in a Hugging Face cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 1_700_000_000
        for name in ("blobs", "refs", "snapshots"):
            (folder / name).mkdir(parents=True)

    def snapshot(self, revision: str, files: dict[str, bytes]) -> None:
        self.seconds += 60
        for path, data in files.items():
            place = self.folder / "snapshots" / revision / path
            place.parent.mkdir(parents=True, exist_ok=True)
            large = path.endswith(".safetensors")
            name = hashlib.sha256(data).hexdigest() if large else git_id(data)
            (self.folder / "blobs" / name).write_bytes(data)
            place.symlink_to("../" * (path.count("/") + 2) + f"blobs/{name}")
            os.utime(place, (self.seconds, self.seconds), follow_symlinks=False)

    def ref(self, name: str, revision: str) -> None:
        place = self.folder / "refs" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(revision)


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def take(
    source: Path, target: Path, *, repository: Repository | None = None, dry_run: bool = False, **wish
) -> Imported:
    """Import into a repository, made where there is none."""
    if repository is None and (target / ".mvc" / "format").exists():
        repository = Repository.open(FileIO(), target, Monitor())
    return import_versions(
        FileIO(),
        target,
        Wish(source, environment={"PATH": os.environ["PATH"]}, **wish),
        ME,
        now(),
        Monitor() if repository is None else repository.monitor,
        repository=repository,
        dry_run=dry_run,
    )


def opened(target: Path) -> Repository:
    return Repository.open(FileIO(), target, Monitor())


def line(target: Path, ref: str = "refs/heads/main") -> list[Commit]:
    """The versions that a ref leads to along first parents, oldest first."""
    found = []
    with opened(target).reading() as view:
        identity: CommitId | None = tip(target, ref)
        while identity is not None:
            commit = view.commit(identity)
            found.append(commit)
            identity = commit.parents[0] if commit.parents else None
    return found[::-1]


def tip(target: Path, ref: str = "refs/heads/main") -> CommitId | None:
    with opened(target).reading() as view:
        value = view.refs.value(ref)
        return None if value is None else peeled_target(value)


def files_of(target: Path, commit: Commit) -> dict[str, bytes]:
    """A version's files with their bytes; those of executables under their path and a star."""
    with opened(target).reading() as view:
        found = {}
        for path, entry in flatten(view.objects, commit.tree).items():
            manifest = read_manifest(view.objects, ManifestId(entry.id))
            found[path + "*" * (entry.mode == EXECUTABLE)] = b"".join(
                file_pieces(view.objects, manifest, verify=True)
            )
        return found


def reached(target: Path) -> int:
    """How many commits branches and tags lead to."""
    with opened(target).reading() as view:
        links = Links(view.objects)
        tips = [peeled_target(value) for _name, value in view.refs.values()]
        waiting = [commit for commit in tips if commit is not None]
        seen = set(waiting)
        while waiting:
            for parent in links[waiting.pop()].parents:
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return len(seen)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Everything in a folder, with times, to see that nothing was written there."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else b"",
            path.lstat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
    }
