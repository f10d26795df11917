"""Where notes lie: a ref, a chain of commits of its own, and a file for each version in their trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Protocol, TypeVar

from mvc.chunking import content_pieces
from mvc.errors import CorruptObject
from mvc.history.reader import ObjectReader, read_commit, read_manifest, read_range, read_tree
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import FILE, FOLDER, Manifest, Part, Tree, TreeEntry
from mvc.refs import NOTES
from mvc.registry.notes.note import MAX_BYTES, Note, decode, encode

ENDING = ".json"

_Id = TypeVar("_Id", bound=ObjectId)


class Refs(Protocol):
    """The names of a repository; :class:`mvc.repo.View` is one."""

    def get(self, name: str, /) -> ObjectId | None:
        """What a ref points to."""
        ...


class Writer(Protocol):
    """Where objects are put; :class:`mvc.odb.writer.ObjectWriter` is one."""

    def put(self, cls: type[_Id], plain: bytes, /) -> _Id:
        """Store plain bytes of a kind."""
        ...


def path_of(commit: CommitId) -> str:
    """The file that holds a version's notes: ``ab/cdef….json``."""
    digits = commit.hex()
    return f"{digits[:2]}/{digits[2:]}{ENDING}"


class Notes:
    """The notes of a repository as they are now. Of their tree only what is asked for is read, once.

    ``head`` is the newest commit of their chain; None where nobody added any.
    """

    def __init__(self, reader: ObjectReader, refs: Refs) -> None:
        self._reader = reader
        found = refs.get(NOTES)
        if found is not None and not isinstance(found, CommitId):
            raise CorruptObject(f"{NOTES} names a {found.word}, not a commit")
        self.head: CommitId | None = found
        self._folders: dict[str, dict[str, TreeEntry]] = {}

    def of(self, commit: CommitId) -> tuple[Note, ...]:
        """A version's notes, oldest first.

        Raises:
            CorruptObject: they are damaged.
        """
        if self.head is None:
            return ()
        folder, _, name = path_of(commit).partition("/")
        entry = self._folder(folder).get(name)
        return () if entry is None else read_notes(self._reader, entry)

    def versions(self) -> Iterator[CommitId]:
        """The versions that have notes, by id; some of them may be gone."""
        for folder in sorted(self._folder("")):
            for name in sorted(self._folder(folder)):
                digits = folder + name.removesuffix(ENDING)
                if len(digits) == 64 and name.endswith(ENDING):
                    try:
                        yield CommitId(bytes.fromhex(digits))
                    except ValueError:
                        continue  # another file that somebody put there, as Git allows too

    def with_notes(self, commit: CommitId, notes: Iterable[Note], writer: Writer) -> TreeId:
        """The tree in which a version has these notes; it and its parts are put into ``writer``.

        Raises:
            UserError: they are too many, or too long.
        """
        folder, _, name = path_of(commit).partition("/")
        inner = dict(self._folder(folder))
        inner.pop(name, None)
        kept = list(notes)
        if kept:
            inner[name] = TreeEntry(name, FILE, store_notes(kept, writer))
        outer = dict(self._folder(""))
        outer.pop(folder, None)
        if inner:
            outer[folder] = TreeEntry(folder, FOLDER, put_tree(inner, writer))
        return put_tree(outer, writer)

    def _folder(self, name: str) -> Mapping[str, TreeEntry]:
        """Entries of the top (named ``""``) or of a folder in it."""
        if name not in self._folders:
            self._folders[name] = self._entries(name)
        return self._folders[name]

    def _entries(self, name: str) -> dict[str, TreeEntry]:
        if self.head is None:
            return {}
        if name:
            entry = self._folder("").get(name)
            tree = entry.id if entry is not None and isinstance(entry.id, TreeId) else None
        else:
            tree = read_commit(self._reader, self.head).tree
        return {} if tree is None else {item.name: item for item in read_tree(self._reader, tree).entries}


def read_notes(reader: ObjectReader, entry: TreeEntry) -> tuple[Note, ...]:
    """The notes in a file of their tree, oldest first.

    Raises:
        CorruptObject: they are damaged.
    """
    if not isinstance(entry.id, ManifestId):
        raise CorruptObject(f"notes are damaged: {entry.name} is a folder")
    manifest = read_manifest(reader, entry.id)
    if manifest.size > MAX_BYTES:
        raise CorruptObject(f"notes are damaged: {entry.name} is too large")
    data = b"".join(read_range(reader, manifest, 0, manifest.size))
    return tuple(sorted(decode(data).values(), key=lambda note: (note.time.microseconds, note.id)))


def put_tree(entries: Mapping[str, TreeEntry], writer: Writer) -> TreeId:
    """Store a folder of the notes' tree."""
    return writer.put(TreeId, Tree.of(list(entries.values())).to_bytes())


def store_notes(notes: Iterable[Note], writer: Writer) -> ManifestId:
    """Store a version's notes, as a commit of the work tree would store the file.

    Raises:
        UserError: they are too many, or too long.
    """
    data = encode(notes)

    def read_into(target: memoryview, offset: int) -> int:
        piece = data[offset : offset + len(target)]
        target[: len(piece)] = piece
        return len(piece)

    parts = [
        Part(len(piece), writer.put(BlobId, bytes(piece)))
        for piece in content_pieces(read_into, 0, len(data))
    ]
    manifest = Manifest("opaque", len(data), sha256(data).digest(), tuple(parts))
    return writer.put(ManifestId, manifest.to_bytes())
