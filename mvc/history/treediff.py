"""What differs between two trees; trees from flat paths, and back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from mvc.errors import CorruptObject, InvalidPath, ObjectPurged, UsageError
from mvc.history.reader import ObjectReader, read_content, read_tree
from mvc.objectid import ManifestId, ObjectId, TreeId
from mvc.objects import EXECUTABLE, FILE, FOLDER, Tree, TreeEntry
from mvc.paths import MAX_DEPTH, check_path, shown

MAX_FILES = 1_000_000
"""Files in one version. Folders that share their subfolders can claim billions in a few kilobytes."""
MAX_FOLDERS = 1_000_000
"""Folders in one version, for the same reason: shared folders need hold no file."""

ChangeKind = Literal["added", "removed", "modified", "mode", "renamed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One file that differs; ``old`` or ``new`` is None where it is missing.

    ``same_content`` is set where only the mode or the path changed. ``old_path`` is given for a renamed file.
    """

    path: str
    old: TreeEntry | None
    new: TreeEntry | None
    same_content: bool = False
    old_path: str | None = None

    @property
    def kind(self) -> ChangeKind:
        """The change in one word; ``mode`` means that nothing but the mode changed."""
        if self.old_path is not None:
            return "renamed"
        if self.old is None:
            return "added"
        if self.new is None:
            return "removed"
        return "mode" if self.same_content else "modified"


class FileEntry(Protocol):
    """What :func:`build_tree` needs to know of a file; a :class:`TreeEntry` will do."""

    @property
    def mode(self) -> int:
        """``FILE`` or ``EXECUTABLE``."""
        ...

    @property
    def id(self) -> ObjectId:
        """The manifest's id."""
        ...


# --- differences -------------------------------------------------------------------------------------------
def diff_trees(
    reader: ObjectReader, old: TreeId | None, new: TreeId | None, *, by_id: bool = False
) -> Iterator[Change]:
    """The files that differ, in order of their paths' UTF-8 bytes; None is the empty tree.

    Equal subfolders are not read. Two different manifests are read and compared: when they describe the same
    bytes, as different scanners do, that is no change. With ``by_id`` no manifest is read, and it is one.
    A folder in a file's place is a removal and additions.

    Raises:
        CorruptObject: folders are nested deeper than any path may be.
    """
    left = MAX_FOLDERS
    # A stack of iterators instead of recursion: the depth of somebody else's folders is not to be trusted.
    stack = [_pair_entries(reader, old, new, "")]
    while stack:
        for path, before, after in stack[-1]:
            if _is_folder(before or after):
                left -= 1
                if left < 0:
                    raise CorruptObject(f"a tree holds more than {MAX_FOLDERS:,} folders")
                if len(stack) == MAX_DEPTH:
                    raise CorruptObject(f"folders are nested deeper than {MAX_DEPTH} levels: {shown(path)}")
                stack.append(_pair_entries(reader, _folder_id(before), _folder_id(after), path + "/"))
                break
            same_content = (
                before is not None and after is not None and _same_file(reader, before, after, by_id)
            )
            if not same_content or _mode(before) != _mode(after):
                yield Change(path, before, after, same_content)
        else:
            stack.pop()


_Pair = tuple[str, TreeEntry | None, TreeEntry | None]


def _pair_entries(
    reader: ObjectReader, old: TreeId | None, new: TreeId | None, prefix: str
) -> Iterator[_Pair]:
    """Path, old and new entry of what is not equal in two folders; a file never pairs with a folder."""
    before, after = _by_path_order(reader, old), _by_path_order(reader, new)
    for key in sorted(before.keys() | after.keys()):
        left, right = before.get(key), after.get(key)
        entry = left or right
        if entry is not None and left != right:
            yield prefix + entry.name, left, right


def _by_path_order(reader: ObjectReader, folder: TreeId | None) -> dict[bytes, TreeEntry]:
    """Entries by a key that sorts like full paths: what lies in folder ``a`` comes after a file ``a-b``."""
    entries = () if folder is None else read_tree(reader, folder).entries
    return {entry.name.encode() + (b"/" if entry.mode == FOLDER else b""): entry for entry in entries}


def _is_folder(entry: TreeEntry | None) -> bool:
    return entry is not None and entry.mode == FOLDER


def _folder_id(entry: TreeEntry | None) -> TreeId | None:
    return entry.id if entry is not None and isinstance(entry.id, TreeId) else None


def _mode(entry: TreeEntry | None) -> int | None:
    return None if entry is None else entry.mode


def _same_file(reader: ObjectReader, old: TreeEntry, new: TreeEntry, by_id: bool) -> bool:
    if old.id == new.id or by_id:
        return old.id == new.id
    try:
        return content_of(reader, old) == content_of(reader, new)
    except ObjectPurged:
        return False  # nobody can tell any more, and ids differ


def content_of(reader: ObjectReader, entry: TreeEntry) -> tuple[int, bytes]:
    """Size and SHA-256 of a file, which say more than its manifest's id."""
    if not isinstance(entry.id, ManifestId):
        raise CorruptObject(f"the entry of file {entry.name!r} names a {entry.id.word}")
    return read_content(reader, entry.id)


# --- renames -----------------------------------------------------------------------------------------------
_Key = Callable[[str, TreeEntry], Hashable]


def pair_renames(reader: ObjectReader, changes: Iterable[Change]) -> list[Change]:
    """Join each removed file with an added one of the same bytes into one change, at the added one's place.

    The same manifest goes before the same size and SHA-256, and among those the same file name goes first.
    Manifests are read only while both removed and added files are left.
    """
    changes = list(changes)
    known: dict[ObjectId, Hashable] = {}

    def content(entry: TreeEntry) -> Hashable:
        if entry.id not in known:
            try:
                known[entry.id] = content_of(reader, entry)
            except ObjectPurged:
                known[entry.id] = entry.id
        return known[entry.id]

    keys: tuple[_Key, ...] = (
        lambda path, entry: (entry.id, _last_name(path)),
        lambda path, entry: entry.id,
        lambda path, entry: (content(entry), _last_name(path)),
        lambda path, entry: content(entry),
    )
    removed = {change.path: change.old for change in changes if change.old and not change.new}
    added = {change.path: change.new for change in changes if change.new and not change.old}
    renamed: dict[str, Change] = {}
    for key in keys:
        for source, target in _match(removed, added, key):
            renamed[target] = Change(target, removed.pop(source), added.pop(target), True, source)
    gone = {change.old_path for change in renamed.values()}
    return [renamed.get(change.path, change) for change in changes if change.path not in gone or change.new]


def _match(
    removed: Mapping[str, TreeEntry],
    added: Mapping[str, TreeEntry],
    key: Callable[[str, TreeEntry], Hashable],
) -> list[tuple[str, str]]:
    """Pairs of a removed and an added path with equal keys, each path once."""
    if not removed or not added:
        return []
    sources: dict[Hashable, list[str]] = {}
    for path, entry in sorted(removed.items(), reverse=True):
        sources.setdefault(key(path, entry), []).append(path)
    pairs = []
    for path, entry in added.items():
        candidates = sources.get(key(path, entry))
        if candidates:
            pairs.append((candidates.pop(), path))
    return pairs


def _last_name(path: str) -> str:
    return path.rpartition("/")[2]


# --- flat and nested ---------------------------------------------------------------------------------------
def flatten(reader: ObjectReader, tree: TreeId) -> dict[str, TreeEntry]:
    """Every file of a tree by its path, in order of the paths' UTF-8 bytes.

    Raises:
        CorruptObject: more than a million files, or folders nested deeper than any path may be.
    """
    files: dict[str, TreeEntry] = {}
    for change in diff_trees(reader, None, tree):
        if change.new is not None:
            files[change.path] = change.new
        if len(files) > MAX_FILES:
            raise CorruptObject(f"tree {tree.short} holds more than {MAX_FILES:,} files")
    return files


def overlay(files: Mapping[str, TreeEntry], over: Mapping[str, TreeEntry]) -> dict[str, TreeEntry]:
    """``files`` with ``over`` laid upon them: a file there takes a folder's place here, and the reverse."""
    folders = {path[:end] for path in over for end in range(len(path)) if path[end] == "/"}
    result = {
        path: entry
        for path, entry in files.items()
        if path not in folders and not any(path[:end] in over for end in range(len(path)) if path[end] == "/")
    }
    return {**result, **over}


def build_tree(files: Mapping[str, FileEntry], put: Callable[[Tree], TreeId]) -> TreeId:
    """Make nested trees from flat paths, innermost first, each handed to ``put``; gives the root's id.

    Raises:
        InvalidPath: a path that no repository may hold, that is a file and a folder at once, or too many.
        UsageError: an entry that is not a file's.
    """
    if len(files) > MAX_FILES:
        raise InvalidPath(f"a version may hold {MAX_FILES:,} files, not {len(files):,}")
    folders: dict[str, list[TreeEntry]] = {"": []}
    for path, file in files.items():
        check_path(path)
        if file.mode not in (FILE, EXECUTABLE) or not isinstance(file.id, ManifestId):
            raise UsageError(f"{shown(path)} has no file's mode, or no manifest's id")
        *above, name = path.split("/")
        folder = ""
        for component in above:
            folder = f"{folder}/{component}" if folder else component
            folders.setdefault(folder, [])
        folders[folder].append(TreeEntry(name, file.mode, file.id))
    clash = next((path for path in files if path in folders), None)
    if clash is not None:
        raise InvalidPath(f"{shown(clash)} is a file and a folder at once")
    # A folder always follows the one it lies in, so backwards every folder is complete when its turn comes.
    for folder, entries in reversed(folders.items()):
        tree = put(Tree.of(entries))
        above_it, _, name = folder.rpartition("/")
        if folder:
            folders[above_it].append(TreeEntry(name, FOLDER, tree))
    return tree
