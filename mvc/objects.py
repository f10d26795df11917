"""The hashed objects: Manifest, Tree, Commit, Tag, AliasEntry, and their canonical bytes (docs/format.md).

Each class has ``to_bytes`` and ``from_bytes``; ``from_bytes`` accepts nothing but the canonical form of a
sound object and raises :class:`CorruptObject` otherwise, :class:`UnsupportedFeature` for a part that a newer
mvc requires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, Self, TypeVar

from mvc import canonical
from mvc.errors import CorruptObject, InvalidPath, UnsupportedFeature
from mvc.lineage import Code, Data, Environment, data_from_value, data_to_value
from mvc.objectid import ID_BYTES, AliasId, BlobId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.paths import check_name
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_INLINE = 4096
MAX_BLOB = 1 << 20
MAX_TENSOR_RANK = 64

_Id = TypeVar("_Id", bound=ObjectId)

Number = int | float
Scalar = str | int | float | bool | None


class Person(NamedTuple):
    """Who did something."""

    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.email else self.name


class Timestamp(NamedTuple):
    """A moment: microseconds since 1970 UTC, and the offset in minutes east of UTC where it was written
    down."""

    microseconds: int
    offset_minutes: int


class Part(NamedTuple):
    """A stretch of a file: a blob (``blob`` given) or bytes that stand in the manifest itself
    (``inline``)."""

    length: int
    blob: BlobId | None
    inline: bytes = b""


def _damaged(what: str, why: str) -> NoReturn:
    raise CorruptObject(f"{what}: {why}")


def _require(condition: bool, what: str, why: str) -> None:
    if not condition:
        _damaged(what, why)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _map(data: Buffer, what: str, required: set[str]) -> dict[str, Any]:
    """Decode a map that has all required keys; refuse keys starting with ``!`` that are not known."""
    return _checked_map(canonical.unpack(data, what), what, required)


def _checked_map(value: Any, what: str, required: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        _damaged(what, "not a map")
    for key in value:
        if not isinstance(key, str):
            _damaged(what, "a key is not a string")
        if key.startswith("!") and key not in required:
            raise UnsupportedFeature(
                f"this {what} needs the feature {key[1:]!r}, which this mvc does not know", hint="upgrade mvc"
            )
    missing = required - value.keys()
    if missing:
        _damaged(what, f"lacks {', '.join(sorted(missing))}")
    unknown = value.keys() - required
    if unknown and what not in ("commit", "manifest"):
        _damaged(what, f"has unknown parts {', '.join(sorted(unknown))}")
    return value


def _id(cls: type[_Id], value: Any, what: str) -> _Id:
    if type(value) is not bytes or len(value) != ID_BYTES:
        _damaged(what, f"a {cls.word} id is not {ID_BYTES} bytes")
    return cls(value)


def _text(value: Any, what: str, name: str) -> str:
    if type(value) is not str:
        _damaged(what, f"{name} is not text")
    return value


def _person(value: Any, what: str) -> Person:
    if not (isinstance(value, list) and len(value) == 2 and all(type(item) is str for item in value)):
        _damaged(what, "a person is not [name, email]")
    return Person(*value)


def _time(value: Any, what: str) -> Timestamp:
    if not (isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value)):
        _damaged(what, "time is not [microseconds, offset]")
    _require(abs(value[1]) <= 24 * 60 and abs(value[0]) < 1 << 62, what, "time is out of range")
    return Timestamp(*value)


_MANIFEST_KEYS = {"format", "parts", "sha256", "size", "tensors"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One file: its parts end to end, and where its tensors lie.

    ``sha256`` is the whole file's SHA-256, ``size`` its length in bytes; files are the same when both are
    equal, whatever their manifest ids, because scanners differ. ``extra`` keeps
    optional parts of newer versions verbatim.
    """

    kind: ClassVar[type[ManifestId]] = ManifestId

    format: str
    size: int
    sha256: bytes
    parts: tuple[Part, ...]
    tensors: tuple[Span, ...] = ()
    reason: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        value: dict[str, Any] = {
            **self.extra,
            "format": self.format,
            "parts": [
                part.inline if part.blob is None else [bytes(part.blob), part.length] for part in self.parts
            ],
            "sha256": self.sha256,
            "size": self.size,
            "tensors": [_tensor_row(span) for span in self.tensors],
        }
        if self.reason is not None:
            value["reason"] = self.reason
        return canonical.pack(value)

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """Parse canonical bytes."""
        value = _map(data, "manifest", _MANIFEST_KEYS)
        size = value["size"]
        _require(_is_count(size), "manifest", "size is not a count")
        digest = value["sha256"]
        _require(type(digest) is bytes and len(digest) == 32, "manifest", "sha256 is not 32 bytes")
        _require(isinstance(value["parts"], list), "manifest", "parts is not an array")
        _require(isinstance(value["tensors"], list), "manifest", "tensors is not an array")
        parts = tuple(_part(item) for item in value["parts"])
        _require(
            sum(part.length for part in parts) == size, "manifest", "the parts do not add up to the size"
        )
        tensors = tuple(_tensor(row, size) for row in value["tensors"])
        order = [(span.offset, span.name) for span in tensors]
        _require(order == sorted(order), "manifest", "tensors are out of order")
        reason = value.get("reason")
        if "reason" in value:
            _text(reason, "manifest", "reason")
        return cls(
            format=_text(value["format"], "manifest", "format"),
            size=size,
            sha256=digest,
            parts=parts,
            tensors=tensors,
            reason=reason,
            extra={key: item for key, item in value.items() if key not in {*_MANIFEST_KEYS, "reason"}},
        )

    def placed_parts(self) -> Iterator[tuple[int, Part]]:
        """Each part with its offset in the file."""
        offset = 0
        for part in self.parts:
            yield offset, part
            offset += part.length

    def same_file(self, other: Manifest) -> bool:
        """Whether both describe the same bytes."""
        return self.size == other.size and self.sha256 == other.sha256


def manifest_content(data: Buffer) -> tuple[int, bytes]:
    """Size and SHA-256 of the file that a manifest describes, for who compares files: its tables, which may
    have 100,000 rows, are passed over.

    Raises:
        CorruptObject: these two are not what they must be.
        UnsupportedFeature: as :meth:`Manifest.from_bytes`.
    """
    value = _checked_map(canonical.skim(data, "manifest", {"parts", "tensors"}), "manifest", _MANIFEST_KEYS)
    size, digest = value["size"], value["sha256"]
    _require(_is_count(size), "manifest", "size is not a count")
    _require(type(digest) is bytes and len(digest) == 32, "manifest", "sha256 is not 32 bytes")
    return size, digest


def _tensor_row(span: Span) -> list[Any]:
    row: list[Any] = [span.name, span.dtype, list(span.shape), span.offset, span.length]
    if span.strides is not None:
        row.append(list(span.strides))
    return row


def _part(item: Any) -> Part:
    if type(item) is bytes:
        _require(0 < len(item) <= MAX_INLINE, "manifest", "an inline part has a bad length")
        return Part(len(item), None, item)
    if not (isinstance(item, list) and len(item) == 2):
        _damaged("manifest", "a part is neither bytes nor [id, length]")
    _require(_is_count(item[1]) and 0 < item[1] <= MAX_BLOB, "manifest", "a blob has a bad length")
    return Part(item[1], _id(BlobId, item[0], "manifest"))


def _counts(value: Any, name: str) -> tuple[int, ...]:
    if type(value) is list and len(value) <= MAX_TENSOR_RANK:
        for item in value:  # a plain loop: there are ten thousands of these
            if type(item) is not int or item < 0:
                break
        else:
            return tuple(value)
    _damaged("manifest", f"a tensor's {name} is not a list of counts")


def _tensor(row: Any, size: int) -> Span:
    if not (isinstance(row, list) and len(row) in (5, 6)):
        _damaged("manifest", "a tensor row has not five or six items")
    name, dtype, shape, offset, length = row[:5]
    _text(name, "manifest", "a tensor's name")
    _text(dtype, "manifest", "a tensor's dtype")
    _require(
        _is_count(offset) and _is_count(length) and offset + length <= size,
        "manifest",
        "a tensor leaves the file",
    )
    strides = _counts(row[5], "strides") if len(row) == 6 else None
    return Span(offset, length, name, dtype, _counts(shape, "shape"), strides)


FILE, EXECUTABLE, FOLDER = 0, 1, 2
"""Modes of tree entries."""


class TreeEntry(NamedTuple):
    """A name in a folder; ``id`` is a manifest's for files, a tree's for folders."""

    name: str
    mode: int
    id: ManifestId | TreeId


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder: entries in ascending order of their names' UTF-8 bytes."""

    kind: ClassVar[type[TreeId]] = TreeId

    entries: tuple[TreeEntry, ...]

    @classmethod
    def of(cls, entries: Iterator[TreeEntry] | list[TreeEntry]) -> Self:
        """A tree from entries in any order."""
        return cls(tuple(sorted(entries, key=lambda entry: entry.name.encode())))

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return canonical.pack(
            {"entries": [[entry.name, entry.mode, bytes(entry.id)] for entry in self.entries]}
        )

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """Parse canonical bytes; a name that the path validator refuses is damage."""
        value = _map(data, "tree", {"entries"})
        _require(isinstance(value["entries"], list), "tree", "entries is not an array")
        entries = tuple(_tree_entry(item) for item in value["entries"])
        names = [entry.name.encode() for entry in entries]
        _require(all(a < b for a, b in pairwise(names)), "tree", "names are out of order")
        return cls(entries)


def _tree_entry(item: Any) -> TreeEntry:
    if not (isinstance(item, list) and len(item) == 3):
        _damaged("tree", "an entry has not three items")
    name, mode, identity = item
    _text(name, "tree", "a name")
    try:
        check_name(name)
    except InvalidPath as error:
        raise CorruptObject(f"tree: {error.message}") from None
    _require(type(mode) is int and mode in (FILE, EXECUTABLE, FOLDER), "tree", "an entry has an unknown mode")
    kind: type[ManifestId] | type[TreeId] = TreeId if mode == FOLDER else ManifestId
    return TreeEntry(name, mode, _id(kind, identity, "tree"))


_COMMIT_KEYS = {"author", "message", "metrics", "params", "parents", "time", "tree"}
_LINEAGE_KEYS = {"code", "data", "environment"}


@dataclass(frozen=True, slots=True)
class Commit:
    """A version: a tree, where it came from, and what is known about it.

    ``metrics`` map names to numbers, ``params`` to scalars, ``data`` to what was trained or tested on; all of
    lineage is optional. ``extra`` keeps optional parts of newer versions verbatim.
    """

    kind: ClassVar[type[CommitId]] = CommitId

    tree: TreeId
    parents: tuple[CommitId, ...]
    author: Person
    time: Timestamp
    message: str
    metrics: Mapping[str, Number] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)
    data: Mapping[str, Data] = field(default_factory=dict)
    code: Code | None = None
    environment: Environment | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return canonical.pack(
            {
                **self.extra,
                **self._lineage(),
                "author": list(self.author),
                "message": self.message,
                "metrics": dict(self.metrics),
                "params": dict(self.params),
                "parents": [bytes(parent) for parent in self.parents],
                "time": list(self.time),
                "tree": bytes(self.tree),
            }
        )

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """Parse canonical bytes."""
        value = _map(data, "commit", _COMMIT_KEYS)
        parents = _parents(value["parents"])
        _require(_scalars(value["metrics"], (int, float)), "commit", "metrics is not a map of numbers")
        _require(
            _scalars(value["params"], (str, int, float, bool, type(None))), "commit", "params is not a map"
        )
        return cls(
            tree=_id(TreeId, value["tree"], "commit"),
            parents=parents,
            author=_person(value["author"], "commit"),
            time=_time(value["time"], "commit"),
            message=_text(value["message"], "commit", "message"),
            metrics=value["metrics"],
            params=value["params"],
            data=data_from_value(value["data"]) if "data" in value else {},
            code=Code.from_value(value["code"]) if "code" in value else None,
            environment=Environment.from_value(value["environment"]) if "environment" in value else None,
            extra={key: item for key, item in value.items() if key not in _COMMIT_KEYS | _LINEAGE_KEYS},
        )

    def _lineage(self) -> dict[str, Any]:
        """What is recorded of the version's origin; absent parts have no key."""
        value: dict[str, Any] = {}
        if self.data:
            value["data"] = data_to_value(self.data)
        if self.code is not None:
            value["code"] = self.code.to_value()
        if self.environment is not None:
            value["environment"] = self.environment.to_value()
        return value

    @property
    def subject(self) -> str:
        """The message's first line."""
        return self.message.split("\n", 1)[0]


def commit_links(data: Buffer) -> tuple[int, tuple[CommitId, ...]]:
    """A commit's time in microseconds and its parents, for walks along the graph: much else is not looked at.

    Raises:
        CorruptObject: these two are not what they must be.
        UnsupportedFeature: as :meth:`Commit.from_bytes`.
    """
    value = _checked_map(canonical.glance(data, "commit"), "commit", _COMMIT_KEYS)
    return _time(value["time"], "commit").microseconds, _parents(value["parents"])


def _parents(value: Any) -> tuple[CommitId, ...]:
    _require(isinstance(value, list) and len(value) <= 64, "commit", "parents is not a short array")
    return tuple(_id(CommitId, parent, "commit") for parent in value)


def _scalars(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(type(item) in types for item in value.values())


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag."""

    kind: ClassVar[type[TagId]] = TagId

    target: CommitId
    name: str
    tagger: Person
    time: Timestamp
    message: str

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return canonical.pack(
            {
                "message": self.message,
                "name": self.name,
                "tagger": list(self.tagger),
                "target": bytes(self.target),
                "time": list(self.time),
            }
        )

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """Parse canonical bytes."""
        value = _map(data, "tag", {"message", "name", "tagger", "target", "time"})
        return cls(
            target=_id(CommitId, value["target"], "tag"),
            name=_text(value["name"], "tag", "name"),
            tagger=_person(value["tagger"], "tag"),
            time=_time(value["time"], "tag"),
            message=_text(value["message"], "tag", "message"),
        )


@dataclass(frozen=True, slots=True)
class AliasEntry:
    """One move of an alias: from where, to where, who, when, why, and the evidence for it."""

    kind: ClassVar[type[AliasId]] = AliasId

    target: CommitId
    previous: AliasId | None
    who: Person
    time: Timestamp
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return canonical.pack(
            {
                "evidence": dict(self.evidence),
                "previous": None if self.previous is None else bytes(self.previous),
                "target": bytes(self.target),
                "time": list(self.time),
                "who": list(self.who),
                "why": self.why,
            }
        )

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """Parse canonical bytes."""
        value = _map(data, "alias entry", {"evidence", "previous", "target", "time", "who", "why"})
        _require(isinstance(value["evidence"], dict), "alias entry", "evidence is not a map")
        previous = value["previous"]
        return cls(
            target=_id(CommitId, value["target"], "alias entry"),
            previous=None if previous is None else _id(AliasId, previous, "alias entry"),
            who=_person(value["who"], "alias entry"),
            time=_time(value["time"], "alias entry"),
            why=_text(value["why"], "alias entry", "why"),
            evidence=value["evidence"],
        )


HashedObject = Manifest | Tree | Commit | Tag | AliasEntry
