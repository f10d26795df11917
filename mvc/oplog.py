"""Operations: what each command changed, so that everything can be undone (docs/format.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from blake3 import blake3

from mvc import canonical
from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.fields import (
    damaged,
    parse_bytes,
    parse_exact_map,
    parse_head,
    parse_id,
    parse_list,
    parse_map,
    parse_ref_name,
    parse_ref_value,
    parse_row,
    parse_text,
)
from mvc.objectid import ID_BYTES, CommitId, OperationId, TreeId
from mvc.objects import Person, Timestamp

MAX_RECENT = 32
TOKEN_BYTES = 16

FINAL = "final"
"""Optional key of operations that cannot be taken back."""

RefValue = bytes | None
HeadValue = str | bytes | None


def head_value(head: str | CommitId | None) -> HeadValue:
    """What HEAD is, as an operation records it."""
    return bytes(head) if isinstance(head, CommitId) else head


# --- operations -------------------------------------------------------------------------------------------


class RefChange(NamedTuple):
    """A ref (or ``HEAD``) before and after; None where it did not exist. HEAD's values are a ref's name or a
    commit id."""

    name: str
    before: HeadValue
    after: HeadValue


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the operation log.

    ``worktree`` is (tree before, tree after) where the command changed the work tree; ``undoes`` is the
    operation that this one took back. ``token`` is random: it ties the journal of a checkout to the
    operation that completes it. ``extra`` keeps optional parts of newer versions verbatim.
    """

    parent: OperationId | None
    command: str
    who: Person
    time: Timestamp
    changes: tuple[RefChange, ...]
    token: bytes
    worktree: tuple[TreeId, TreeId] | None = None
    undoes: OperationId | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_value(self) -> dict[str, Any]:
        """The canonical map."""
        return {
            **self.extra,
            "changes": [list(change) for change in self.changes],
            "command": self.command,
            "parent": None if self.parent is None else bytes(self.parent),
            "time": list(self.time),
            "token": self.token,
            "undoes": None if self.undoes is None else bytes(self.undoes),
            "who": list(self.who),
            "worktree": None if self.worktree is None else [bytes(tree) for tree in self.worktree],
        }

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse the canonical map.

        Raises:
            CorruptFile: it is not one.
            UnsupportedFeature: a newer mvc requires something of its readers.
        """
        parse_map(value, "an operation", _KEYS)
        name, email = parse_row(value["who"], "an operation's author", 2)
        parent, undoes, worktree = value["parent"], value["undoes"], value["worktree"]
        return cls(
            parent=None if parent is None else parse_id(OperationId, parent, "an operation's parent"),
            command=parse_text(value["command"], "an operation's command"),
            who=Person(parse_text(name, "an author's name"), parse_text(email, "an author's address")),
            time=_time(value["time"]),
            changes=tuple(_change(item) for item in parse_list(value["changes"], "an operation's changes")),
            token=parse_bytes(value["token"], "an operation's token", TOKEN_BYTES),
            worktree=None if worktree is None else _trees(worktree),
            undoes=None if undoes is None else parse_id(OperationId, undoes, "what an operation undoes"),
            extra={key: item for key, item in value.items() if key not in _KEYS},
        )

    @property
    def is_final(self) -> bool:
        """Whether it cannot be taken back: what a purge took is gone."""
        return self.extra.get(FINAL) is True

    @property
    def id(self) -> OperationId:
        """Hash of the canonical bytes."""
        return OperationId.of(canonical.pack(self.to_value()))


def _time(value: Any) -> Timestamp:
    what = "an operation's time"
    moment, offset = parse_row(value, what, 2)
    if type(moment) is not int or type(offset) is not int or abs(moment) >= 1 << 62 or abs(offset) > 24 * 60:
        damaged(what, "is out of range")
    return Timestamp(moment, offset)


_KEYS = frozenset({"changes", "command", "parent", "time", "token", "undoes", "who", "worktree"})


def _change(item: Any) -> RefChange:
    name, before, after = parse_row(item, "an operation's change", 3)
    if name == "HEAD":
        return RefChange(name, parse_head(before, "HEAD before"), parse_head(after, "HEAD after"))
    parse_ref_name(name, "what an operation changed")
    what = f"a value of {name}"
    return RefChange(name, parse_ref_value(before, what), parse_ref_value(after, what))


def _trees(item: Any) -> tuple[TreeId, TreeId]:
    before, after = parse_row(item, "an operation's work tree", 2)
    return parse_id(TreeId, before, "a tree before"), parse_id(TreeId, after, "a tree after")


# --- pieces -----------------------------------------------------------------------------------------------
def piece_key(name: bytes) -> str:
    """Where a piece lies in a backend."""
    return f"pieces/{name.hex()}.piece"


def read_piece(backend: Backend, name: bytes) -> Any:
    """Fetch a piece and check it against its name.

    Raises:
        CorruptFile: it is missing or damaged.
    """
    what = f"piece {name.hex()[:12]}"
    try:
        data = backend.get(piece_key(name))
    except NotFound:
        raise CorruptFile(f"{what} is missing", hint="run 'mvc fsck'") from None
    if _piece_name(data) != name:
        raise CorruptFile(f"{what} does not hash to its name", hint="run 'mvc fsck'")
    try:
        return canonical.unpack(data, what)
    except CorruptObject as error:
        raise CorruptFile(error.message, hint="run 'mvc fsck'") from None


def write_piece(backend: Backend, value: Any) -> bytes:
    """Store a value as a piece, durable; returns its name."""
    data = canonical.pack(value)
    name = _piece_name(data)
    backend.put(piece_key(name), [data])
    return name


def _piece_name(data: bytes) -> bytes:
    return blake3(data).digest(ID_BYTES)


@dataclass(frozen=True, slots=True)
class OpLog:
    """The log's part of root: the newest operations, and the piece that holds those before them.

    A piece names the piece before it, so root stays small however long the log grows.
    """

    head: OperationId | None = None
    recent: tuple[Operation, ...] = ()
    piece: bytes | None = None

    def append(self, operation: Operation, backend: Backend) -> OpLog:
        """The log with one more operation; a full tail is moved into a piece first."""
        recent, piece = self.recent, self.piece
        if len(recent) >= MAX_RECENT:
            piece, recent = write_piece(backend, self._full_piece()), ()
        return OpLog(operation.id, (*recent, operation), piece)

    def newest_first(self, backend: Backend) -> Iterator[Operation]:
        """Every operation, newest first; pieces are read as they are needed.

        Raises:
            CorruptFile: a piece is missing or damaged, or an operation is not the one that the next newer
            one (or root) names. Names and ids are hashes of what names them, so the log has no
            circles.
        """
        expected = self.head
        for operation in self._claimed(backend):
            if operation.id != expected:
                damaged("the operation log", f"is broken before operation {operation.id.short}")
            yield operation
            expected = operation.parent
        if expected is not None:
            damaged("the operation log", f"ends without operation {expected.short}")

    def _claimed(self, backend: Backend) -> Iterator[Operation]:
        """What root and the pieces hold, newest first."""
        yield from reversed(self.recent)
        for _name, operations in self._pieces(backend):
            for item in reversed(operations):
                yield Operation.from_value(item)

    def _pieces(self, backend: Backend) -> Iterator[tuple[bytes, list[Any]]]:
        """Each piece's name and operations, the newest piece first."""
        name = self.piece
        while name is not None:
            what = f"piece {name.hex()[:12]}"
            piece = parse_exact_map(read_piece(backend, name), what, ("operations", "previous"))
            yield name, parse_list(piece["operations"], f"{what} of the operation log")
            name = _piece_or_none(piece["previous"])

    def piece_names(self, backend: Backend) -> list[bytes]:
        """The pieces that the log consists of, newest first."""
        return [name for name, _operations in self._pieces(backend)]

    def next_piece(self) -> bytes | None:
        """The name of the piece that the next operation moves what root holds into; None where there is
        room for it."""
        if len(self.recent) < MAX_RECENT:
            return None
        return _piece_name(canonical.pack(self._full_piece()))

    def _full_piece(self) -> dict[str, Any]:
        return {"operations": [item.to_value() for item in self.recent], "previous": self.piece}

    def to_value(self) -> dict[str, Any]:
        """The canonical map."""
        return {
            "head": None if self.head is None else bytes(self.head),
            "piece": self.piece,
            "recent": [operation.to_value() for operation in self.recent],
        }

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse the canonical map.

        Raises:
            CorruptFile: it is not one.
            UnsupportedFeature: a newer mvc requires something of its readers.
        """
        parse_exact_map(value, "the operation log", ("head", "piece", "recent"))
        items = parse_list(value["recent"], "the operation log's recent part", MAX_RECENT)
        recent = tuple(Operation.from_value(item) for item in items)
        piece = _piece_or_none(value["piece"])
        head = None if value["head"] is None else parse_id(OperationId, value["head"], "the newest operation")
        if (head is None) != (not recent and piece is None) or (recent and recent[-1].id != head):
            damaged("the operation log", "does not end in the operation that it names")
        return cls(head, recent, piece)


def _piece_or_none(value: Any) -> bytes | None:
    return None if value is None else parse_bytes(value, "the name of the log's piece", ID_BYTES)
