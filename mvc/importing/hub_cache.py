"""A model of the Hugging Face cache: each downloaded snapshot is a version."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from stat import S_ISREG

from blake3 import blake3

from mvc.fileio import FileIO, storage_errors
from mvc.importing.contents import Absent, FileContent
from mvc.importing.version import Digest, Item, Listing, Name, Version
from mvc.lineage import Code
from mvc.objects import Person, Timestamp
from mvc.origins.hub import REVISION, address, digest_of, refs
from mvc.paths import MAX_DEPTH
from mvc.refs import BRANCHES, TAGS

MAIN = "main"
"""The ref of the Hub that a model is downloaded by unless somebody says otherwise."""

_STAMP_BYTES = 16


class HubCache:
    """The snapshots of one model, in the order in which they were downloaded, that of ``main`` last; see
    :class:`mvc.importing.version.Origin`. ``author`` is whose versions they are to be."""

    kind = "huggingface"
    passed_over = 0

    def __init__(self, io: FileIO, folder: Path, author: Person, branch: str | None = None) -> None:
        self._io = io
        # the way to the cache may lead through links, those inside of it are judged
        self._folder = Path(os.path.realpath(folder))
        self._author = author
        self.line: str | None = branch or MAIN
        self.head: str | None = self.line
        self._refs = refs(io, self._folder)
        self._notes: list[str] = []
        self._times = self._snapshots()

    def close(self) -> None:
        """Nothing is open."""

    def listing_of(self, name: str) -> Listing | None:
        """None: a known version has no other one on top that shares files with it by name and date."""
        return None

    def names(self) -> list[Name]:
        """Refs but ``main``, as branches, or as tags where they are called so."""
        found = []
        for ref in self._refs:
            if ref.revision not in self._times:
                self._notes.append(f"{ref.name!r} names a snapshot that is not in the cache; it is left out")
            elif ref.name != MAIN:
                found.append(Name((TAGS if ref.is_tag else BRANCHES) + ref.name, ref.revision))
        return found

    def notes(self) -> list[str]:
        """What is left out."""
        return self._notes

    def versions(self, known: Collection[str]) -> Iterator[Version]:
        """Its snapshots."""
        main = next((ref.revision for ref in self._refs if ref.name == MAIN), None)
        remote = address(self._folder)
        late = []
        for name in sorted(self._times, key=lambda name: (name == main, self._times[name], name)):
            if name not in known and main in known and name != main:
                # on top of it the branch would no longer be at the version that the Hub calls so
                late.append(name)
                continue
            listing = self._listing(name)
            yield Version(
                name,
                None,
                self._author,
                Timestamp(self._times[name] // 1000, 0),
                f"{remote.removeprefix('https://huggingface.co/')} at {name[:12]}" if remote else name,
                lambda listing=listing: listing,  # type: ignore[misc]
                code=Code(name, dirty=False, remote=remote),
                stamp=_stamp(listing),
            )
        if late:
            self._notes.append(
                f"{len(late)} snapshots were downloaded after {MAIN} was imported, and are left out; "
                "--branch NAME takes all of them onto another branch"
            )

    def _snapshots(self) -> dict[str, int]:
        """When each snapshot was downloaded: the newest link in it, in nanoseconds."""
        found = {}
        with storage_errors("cannot read the cache"):
            for entry in self._io.scan_folder(self._folder / "snapshots"):
                if entry.is_dir(follow_symlinks=False) and REVISION.fullmatch(entry.name):
                    found[entry.name] = max(
                        (self._io.stat(path).st_mtime_ns for _, path, _ in self._walk(entry.name)),
                        default=entry.stat(follow_symlinks=False).st_mtime_ns,
                    )
        return found

    def _walk(self, name: str) -> Iterator[tuple[str, Path, bool]]:
        """Path, place and whether it is a link, of what lies in a snapshot and is no folder."""
        waiting = [""]
        while waiting:
            inner = waiting.pop()
            for entry in sorted(
                self._io.scan_folder(self._folder / "snapshots" / name / inner), key=lambda one: one.name
            ):
                path = f"{inner}/{entry.name}" if inner else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path.count("/") < MAX_DEPTH:
                        waiting.append(path)
                else:
                    place = self._folder / "snapshots" / name / path
                    yield path, place, entry.is_symlink()

    def _listing(self, name: str) -> Listing:
        found = Listing()
        with storage_errors("cannot read the cache"):
            for path, place, is_link in self._walk(name):
                status = self._io.stat(place)
                if is_link:
                    self._add_link(found, path, place)
                elif S_ISREG(status.st_mode):
                    inside = place.relative_to(self._folder).as_posix()
                    key = ("file", name, path, status.st_mtime_ns)
                    found.files[path] = Item(
                        FileContent(self._io, self._folder, inside, status.st_size, f"file {path}", key)
                    )
                else:
                    found.left_out.append((path, "is no regular file"))
        return found

    def _add_link(self, found: Listing, path: str, place: Path) -> None:
        """A link counts as the blob that it leads to, and as nothing where it leads elsewhere."""
        target = Path(os.path.realpath(place))
        if target.parent != self._folder / "blobs":
            found.left_out.append((path, "is a link that leads out of the cache's blobs"))
            return
        try:
            status = self._io.stat(target)
        except FileNotFoundError:
            found.files[path] = Item(Absent(f"blob {target.name} of {path}"))
            return
        digest = digest_of(target.name)
        if digest is None:
            self._notes.append(f"the blob of {path!r} is not named by its hash, so it cannot be checked")
        found.files[path] = Item(
            FileContent(
                self._io,
                self._folder,
                f"blobs/{target.name}",
                status.st_size,
                f"blob {target.name}",
                ("blob", target.name),
                None if digest is None else Digest(*digest),
            )
        )


def _stamp(listing: Listing) -> bytes:
    """Changes when files were downloaded since; a file that is missing has none of its bytes there."""
    rows = (
        f"{path}\0{item.content.key}\0{item.content.missing() is None}"
        for path, item in sorted(listing.files.items())
    )
    return blake3("\n".join(rows).encode("utf-8", "surrogateescape")).digest(_STAMP_BYTES)
