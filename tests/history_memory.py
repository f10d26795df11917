"""A store and refs in memory, for the tests of history."""

from collections import Counter

from mvc.errors import ObjectMissing
from mvc.objectid import CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import FILE, Commit, Manifest, Part, Person, Timestamp, Tree, TreeEntry
from mvc.spans import Span


class MemoryReader:
    """Keeps objects in a dictionary, and counts how often each kind was read."""

    def __init__(self):
        self.objects = {}
        self.reads = Counter()

    def get(self, identity, /):
        self.reads[identity.word] += 1
        try:
            return self.objects[identity]
        except KeyError:
            raise ObjectMissing(f"{identity!r} is missing") from None

    def find_prefix(self, hex_prefix, /):
        return {identity for identity in self.objects if identity.hex().startswith(hex_prefix)}

    def put(self, item):
        data = item.to_bytes()
        identity = item.kind.of(data)
        self.objects[identity] = data
        return identity

    def put_blob(self, kind, data):
        identity = kind.of(data)
        self.objects[identity] = data
        return identity

    # --- short ways to what tests need ---
    def file(self, text="", *, format="opaque", tensors=()):
        return self.put(small_manifest(text.encode(), format=format, tensors=tensors))

    def tree(self, **files):
        """A folder: names to manifest ids, tree ids, or (mode, id)."""
        entries = []
        for name, value in files.items():
            if isinstance(value, TreeId):
                entries.append(TreeEntry(name, 2, value))
            elif isinstance(value, ManifestId):
                entries.append(TreeEntry(name, FILE, value))
            else:
                entries.append(TreeEntry(name, *value))
        return self.put(Tree.of(entries))

    def commit(self, *parents, time=0, message="", tree=None):
        tree = tree if tree is not None else self.tree()
        return self.put(make_commit(parents, time, message, tree))


def make_commit(parents, time, message, tree) -> Commit:
    return Commit(tree, tuple(parents), Person("A", "a@b"), Timestamp(time * 1_000_000, 0), message)


def small_manifest(data: bytes, *, format="opaque", tensors: tuple[Span, ...] = ()) -> Manifest:
    """A manifest that holds a small file inline."""
    from hashlib import sha256

    parts = (Part(len(data), None, data),) if data else ()
    return Manifest(format, len(data), sha256(data).digest(), parts, tuple(tensors))


class MemoryRefs:
    """Refs that remember every value they had, as Git's reflogs do."""

    def __init__(self, head: str | CommitId | None = "refs/heads/main"):
        self.head = head
        self.values: dict[str, list[ObjectId]] = {}

    def set(self, name, value):
        self.values.setdefault(name, []).append(value)

    def get(self, name, /):
        values = self.values.get(name)
        return values[-1] if values else None

    def names(self, prefix, /):
        return [name for name in self.values if name.startswith(prefix) and name != "HEAD"]

    def previous(self, name, n, /):
        values = self.values.get(name, [])
        return values[-1 - n] if n < len(values) else None
