"""Operations: what each command changed, so that everything can be undone (docs/format.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from blake3 import blake3

from mvc import canonical
from mvc.backends import Backend
from mvc.errors import CorruptFile, CorruptObject
from mvc.objectid import ID_BYTES, OperationId, TreeId
from mvc.objects import Person, Timestamp

MAX_RECENT = 32

RefValue = bytes | None
HeadValue = str | bytes | None


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
    operation that completes it.
    """

    parent: OperationId | None
    command: str
    who: Person
    time: Timestamp
    changes: tuple[RefChange, ...]
    token: bytes
    worktree: tuple[TreeId, TreeId] | None = None
    undoes: OperationId | None = None

    def to_value(self) -> dict[str, Any]:
        """The canonical map."""
        return {
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
            CorruptObject: it is not one.
        """
        try:
            return cls(
                parent=None if value["parent"] is None else OperationId(value["parent"]),
                command=str(value["command"]),
                who=Person(*map(str, value["who"])),
                time=Timestamp(*map(int, value["time"])),
                changes=tuple(_change(item) for item in value["changes"]),
                token=bytes(value["token"]),
                worktree=None if value["worktree"] is None else _trees(value["worktree"]),
                undoes=None if value["undoes"] is None else OperationId(value["undoes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptObject(f"an operation is damaged: {error}") from None

    @property
    def id(self) -> OperationId:
        """Hash of the canonical bytes."""
        return OperationId.of(canonical.pack(self.to_value()))


def _change(item: Any) -> RefChange:
    name, before, after = item
    for value in (before, after):
        if not (
            value is None
            or isinstance(value, str)
            or (isinstance(value, bytes) and len(value) in (32, 33, 65))
        ):
            raise ValueError("a change holds neither a ref value nor a name")
    return RefChange(str(name), before, after)


def _trees(item: Any) -> tuple[TreeId, TreeId]:
    before, after = item
    return TreeId(before), TreeId(after)


def piece_key(name: bytes) -> str:
    """Where a piece lies in a backend."""
    return f"pieces/{name.hex()}.piece"


def read_piece(backend: Backend, name: bytes) -> Any:
    """Fetch a piece and check it against its name.

    Raises:
        CorruptFile: it does not hash to its name.
    """
    data = backend.get(piece_key(name))
    if _piece_name(data) != name:
        raise CorruptFile(f"piece {name.hex()[:12]} does not hash to its name", hint="run 'mvc fsck'")
    return canonical.unpack(data, "piece")


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
            piece = write_piece(
                backend, {"operations": [item.to_value() for item in recent], "previous": piece}
            )
            recent = ()
        return OpLog(operation.id, (*recent, operation), piece)

    def newest_first(self, backend: Backend) -> Iterator[Operation]:
        """Every operation, newest first; pieces are read as they are needed."""
        yield from reversed(self.recent)
        piece = self.piece
        while piece is not None:
            value = read_piece(backend, piece)
            for item in reversed(value["operations"]):
                yield Operation.from_value(item)
            piece = value["previous"]

    def to_value(self) -> dict[str, Any]:
        """The canonical map."""
        return {
            "head": None if self.head is None else bytes(self.head),
            "piece": self.piece,
            "recent": [operation.to_value() for operation in self.recent],
        }

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse the canonical map."""
        head = value["head"]
        recent = tuple(Operation.from_value(item) for item in value["recent"])
        return cls(None if head is None else OperationId(head), recent, value["piece"])
