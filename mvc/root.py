"""The one mutable object: which refs, segments and operations there are. Replaced whole, by
compare-and-swap."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from blake3 import blake3

from mvc import canonical
from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.fields import damaged, parse_bytes, parse_count, parse_head, parse_list, parse_map, parse_row
from mvc.objectid import ID_BYTES, CommitId
from mvc.odb.index import SegmentRow
from mvc.oplog import OpLog, piece_key
from mvc.refs import RefPieces

KEY = "root"
PREVIOUS = "root.previous"
"""The second copy that a folder keeps of the state before; a hint, which may be missing or stale."""
MAGIC = b"mvcROOT1"
_NONCE_BYTES = 16
_PREFIX_BYTES = 8
_KNOWN = frozenset(
    {"epoch", "fossils", "head", "nonce", "oplog", "refs", "retired", "segments", "tombstones"}
)
_RETIRED_KEY = re.compile(r"segments/[0-9a-f]{64}\.seg|pieces/[0-9a-f]{64}\.piece")


class Fossil(NamedTuple):
    """A condemned pack. ``deleted`` once its file is gone and only segments still mention it."""

    pack: bytes
    epoch: int
    deleted: bool


class Retired(NamedTuple):
    """A segment or piece (``key`` in the backend) that was replaced in ``epoch`` and waits for deletion."""

    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Root:
    """What root says.

    ``head`` is a branch's full name, a commit id when detached, or None in a shared store. ``extra`` keeps
    optional parts of newer versions verbatim.
    """

    head: str | CommitId | None = None
    refs: RefPieces = field(default_factory=RefPieces)
    segments: tuple[SegmentRow, ...] = ()
    oplog: OpLog = field(default_factory=OpLog)
    epoch: int = 0
    fossils: tuple[Fossil, ...] = ()
    retired: tuple[Retired, ...] = ()
    tombstones: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Bytes of the file, with a new nonce."""
        value: dict[str, Any] = {
            **self.extra,
            "epoch": self.epoch,
            "fossils": [list(fossil) for fossil in self.fossils],
            "nonce": os.urandom(16),
            "oplog": self.oplog.to_value(),
            "refs": self.refs.to_value(),
            "retired": [list(item) for item in self.retired],
            "segments": [list(row) for row in self.segments],
            "tombstones": dict(self.tombstones),
        }
        if self.head is not None:
            value["head"] = self.head if isinstance(self.head, str) else bytes(self.head)
        body = MAGIC + canonical.pack(value)
        return body + blake3(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Root:
        """Parse and verify.

        Raises:
            CorruptFile: anything about it is wrong.
            UnsupportedFeature: a newer mvc requires something.
        """
        body, digest = data[:-32], data[-32:]
        if not body.startswith(MAGIC) or blake3(body).digest() != digest:
            raise CorruptFile("root is damaged", hint="run 'mvc repair'")
        try:
            value = canonical.unpack(body[len(MAGIC) :], "root")
        except CorruptObject as error:
            raise CorruptFile(f"root is damaged: {error.message}", hint="run 'mvc repair'") from None
        return cls._from_value(parse_map(value, "root", _KNOWN - {"head"}))

    @classmethod
    def _from_value(cls, value: dict[str, Any]) -> Root:
        """Check every part: what root says is deleted and overwritten, so nothing in it is taken on trust."""
        parse_bytes(value["nonce"], "root's nonce", _NONCE_BYTES)
        head = parse_head(value.get("head"), "HEAD")
        if type(value["tombstones"]) is not dict:
            damaged("root's list of tombstones", "is not a map")
        epoch = parse_count(value["epoch"], "root's epoch")
        root = cls(
            head=CommitId(head) if isinstance(head, bytes) else head,
            refs=RefPieces.from_value(value["refs"]),
            segments=tuple(_segment(item) for item in parse_list(value["segments"], "the list of segments")),
            oplog=OpLog.from_value(value["oplog"]),
            epoch=epoch,
            fossils=tuple(_fossil(item, epoch) for item in parse_list(value["fossils"], "the fossils")),
            retired=tuple(
                _retired(item, epoch) for item in parse_list(value["retired"], "the retired files")
            ),
            tombstones=value["tombstones"],
            extra={key: item for key, item in value.items() if key not in _KNOWN},
        )
        root._check_apart()
        return root

    def _check_apart(self) -> None:
        """Each segment is listed once, and nothing that is in use is to be deleted."""
        live = [f"segments/{row.name.hex()}.seg" for row in self.segments]
        if len(set(live)) != len(live):
            damaged("the list of segments", "names one twice")
        live += [piece_key(name) for _first, name in self.refs.pieces]
        live += [piece_key(name) for name in (self.oplog.piece,) if name is not None]
        if not {item.key for item in self.retired}.isdisjoint(live):
            damaged("root", "retires what it still uses")

    def with_changes(self, **changes: Any) -> Root:
        """A copy with some fields replaced."""
        return replace(self, **changes)


def _segment(item: Any) -> SegmentRow:
    name, run, entries, first, last = parse_row(item, "a segment's row", 5)
    row = SegmentRow(
        parse_bytes(name, "a segment's name", ID_BYTES),
        parse_count(run, "a segment's run"),
        parse_count(entries, "a segment's number of entries"),
        parse_bytes(first, "a segment's first id", _PREFIX_BYTES),
        parse_bytes(last, "a segment's last id", _PREFIX_BYTES),
    )
    if not row.entries or row.first > row.last:
        damaged("a segment's row", "claims an impossible range")
    return row


def _fossil(item: Any, epoch: int) -> Fossil:
    pack, condemned, deleted = parse_row(item, "a fossil", 3)
    if type(deleted) is not bool:
        damaged("a fossil", "does not say whether it is deleted")
    return Fossil(parse_bytes(pack, "a fossil's name", ID_BYTES), _past(condemned, epoch), deleted)


def _retired(item: Any, epoch: int) -> Retired:
    key, condemned = parse_row(item, "a retired file", 2)
    if type(key) is not str or not _RETIRED_KEY.fullmatch(key):
        damaged("a retired file", "is neither a segment nor a piece")
    return Retired(key, _past(condemned, epoch))


def _past(value: Any, epoch: int) -> int:
    if parse_count(value, "an epoch") > epoch:
        damaged("an epoch", "is later than root's own")
    return int(value)


class RootStore:
    """Reads root and swaps it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self) -> tuple[Root, bytes]:
        """Root, and its exact bytes for :meth:`swap`.

        Raises:
            CorruptFile: it is damaged, or there is none: every store has one from its first moment on.
            UnsupportedFeature: a newer mvc requires something.
        """
        try:
            data = self._backend.get(KEY)
        except NotFound:
            raise CorruptFile("root is missing", hint="run 'mvc repair'") from None
        return Root.from_bytes(data), data

    def swap(self, expected: bytes | None, root: Root) -> None:
        """Replace root if it still is ``expected`` (None: if there is none).

        Raises:
            RootMoved: somebody else was faster; nothing changed.
        """
        self._backend.replace(KEY, expected, root.to_bytes())
