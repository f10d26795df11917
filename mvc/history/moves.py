"""Which files one side of a merge moved: a path that it removed and one that it added, of the same bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping

from mvc.history.reader import ObjectReader
from mvc.history.treediff import Change, content_of
from mvc.objectid import ObjectId
from mvc.objects import Manifest, TreeEntry

_SMALL_MANIFEST = 512  # bytes; that of an empty file is shorter, and parsing a long one takes its time

EMPTY_SHA256 = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
EMPTY_FILE = Manifest.kind.of(Manifest("opaque", 0, EMPTY_SHA256, (), ()).to_bytes())
"""The id of an empty file's manifest, for a file that nobody stored: see :mod:`mvc.history.merge3`."""


class Contents:
    """Tells whether files have the same bytes; a manifest is read only where ids leave it open, and once."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._known: dict[ObjectId, tuple[int, bytes]] = {EMPTY_FILE: (0, EMPTY_SHA256)}

    def __getitem__(self, entry: TreeEntry) -> tuple[int, bytes]:
        """Size and SHA-256 of a file."""
        found = self._known.get(entry.id)
        if found is None:
            found = self._known[entry.id] = content_of(self._reader, entry)
        return found

    def same(self, one: TreeEntry, other: TreeEntry) -> bool:
        """Whether two files have the same bytes, whatever their modes."""
        return one.id == other.id or self[one] == self[other]

    def is_empty(self, entry: TreeEntry) -> bool:
        """Whether a file has no bytes."""
        if entry.id not in self._known and len(self._reader.get(entry.id)) > _SMALL_MANIFEST:
            return False
        return self[entry][0] == 0


def find_moves(contents: Contents, changes: Iterable[Change], other: Mapping[str, Change]) -> dict[str, str]:
    """New paths by old ones, of the files that a side moved without changing a byte.

    ``other`` are the other side's changes: where it touched none of the files that are gone, nothing hangs on
    whether they were moved, and nothing is read. As in Git each new path, in order, takes the first old one
    of its bytes that is left, before others one of the same last name, then one of a folder in which the
    other side changed something; and empty files count as removed and added.
    """
    changes = list(changes)
    removed = {change.path: change.old for change in changes if change.old and not change.new}
    added = {change.path: change.new for change in changes if change.new and not change.old}
    if not any(path in other for path in removed):
        return {}
    touched = {folder for path in other for folder in folders_above(path)}
    in_order = sorted(removed, key=lambda path: not touched.issuperset(folders_above(path)))
    moves: dict[str, str] = {}
    keys: tuple[Callable[[TreeEntry], Hashable], ...] = (lambda entry: entry.id, contents.__getitem__)
    for key in keys:
        if not (removed and added):
            break
        # Each old path stands in two queues, and is passed over in the one once the other gave it.
        sources: dict[Hashable, deque[str]] = {}
        for path in in_order:
            if path in removed:
                content = key(removed[path])
                sources.setdefault(content, deque()).append(path)
                sources.setdefault((content, _name(path)), deque()).append(path)
        for path, entry in list(added.items()):
            content = key(entry)
            if content not in sources or contents.is_empty(entry):
                continue
            source = _first(sources.get((content, _name(path))), removed) or _first(sources[content], removed)
            if source is not None:
                moves[source] = path
                del removed[source], added[path]
    return moves


def _first(paths: deque[str] | None, left: Container[str]) -> str | None:
    """The first path of a queue that is left."""
    while paths:
        path = paths.popleft()
        if path in left:
            return path
    return None


def folders_above(path: str) -> Iterator[str]:
    """The folders that a path lies in, outermost first."""
    return (path[:end] for end, character in enumerate(path) if character == "/")


def _name(path: str) -> str:
    return path.rpartition("/")[2]
