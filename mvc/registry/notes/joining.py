"""Two chains of notes into one: what either side added since they parted is there, what either one removed is
gone, with no conflict."""

from __future__ import annotations

from mvc.history.ancestry import merge_bases
from mvc.history.reader import ObjectReader, read_commit, read_tree
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import FILE, FOLDER, Commit, Person, Timestamp, TreeEntry
from mvc.registry.notes.note import Note, merge
from mvc.registry.notes.shelf import ENDING, Writer, put_tree, read_notes, store_notes

_Entry = TreeEntry | None


def join(
    reader: ObjectReader, writer: Writer, ours: CommitId, theirs: CommitId, who: Person, now: Timestamp
) -> CommitId:
    """The newest commit of the chain that has the notes of both; one of the two where it has them all.

    Only folders and files that both sides changed are read. A version's notes are merged note by note,
    because a note never changes.

    Raises:
        CorruptObject: notes are damaged.
        UserError: the notes of a version are too many together.
    """
    bases = merge_bases(reader, ours, theirs)
    if theirs in bases:
        return ours
    if ours in bases:
        return theirs
    trees = [read_commit(reader, commit).tree for commit in (ours, theirs)]
    base = read_commit(reader, bases[0]).tree if bases else None
    tree = put_tree(_joined(reader, writer, base, *trees), writer)
    commit = Commit(tree, (ours, theirs), who, now, "Notes of both sides")
    return writer.put(CommitId, commit.to_bytes())


def _joined(
    reader: ObjectReader, writer: Writer, base: TreeId | None, ours: TreeId | None, theirs: TreeId | None
) -> dict[str, TreeEntry]:
    """The entries of a folder that both sides may have changed."""
    sides = [
        {} if tree is None else {item.name: item for item in read_tree(reader, tree).entries}
        for tree in (base, ours, theirs)
    ]
    found = {}
    for name in sorted({name for side in sides for name in side}):
        old, our, their = (side.get(name) for side in sides)
        if our == their or their == old:
            entry = our
        elif our == old:
            entry = their
        else:
            entry = _both(reader, writer, name, old, our, their)
        if entry is not None:
            found[name] = entry
    return found


def _both(reader: ObjectReader, writer: Writer, name: str, old: _Entry, our: _Entry, their: _Entry) -> _Entry:
    """An entry that each side changed in another way: a folder, or a version's notes."""
    ids = [None if entry is None else entry.id for entry in (old, our, their)]
    if all(isinstance(item, TreeId | None) for item in ids[1:]):
        folders = [item if isinstance(item, TreeId) else None for item in ids]
        entries = _joined(reader, writer, *folders)
        return TreeEntry(name, FOLDER, put_tree(entries, writer)) if entries else None
    if not name.endswith(ENDING) or not all(isinstance(item, ManifestId | None) for item in ids[1:]):
        return our  # no file of ours; Git allows others beside them
    merged = merge(*(_notes(reader, entry) for entry in (old, our, their)))
    return TreeEntry(name, FILE, store_notes(merged.values(), writer)) if merged else None


def _notes(reader: ObjectReader, entry: _Entry) -> dict[str, Note]:
    if entry is None or not isinstance(entry.id, ManifestId):
        return {}
    return {note.id: note for note in read_notes(reader, entry)}
