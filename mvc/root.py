"""The one mutable object: which refs, segments and operations there are. Replaced whole, by
compare-and-swap."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from blake3 import blake3

from mvc import canonical
from mvc.backends import Backend
from mvc.errors import CorruptFile, CorruptObject, UnsupportedFeature
from mvc.objectid import CommitId
from mvc.odb.index import SegmentRow
from mvc.oplog import OpLog
from mvc.refs import RefPieces

KEY = "root"
MAGIC = b"mvcROOT1"
_KNOWN = {"epoch", "fossils", "head", "nonce", "oplog", "refs", "retired", "segments", "tombstones"}


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
            raise CorruptFile("root is damaged", hint="run 'mvc doctor'")
        try:
            value = canonical.unpack(body[len(MAGIC) :], "root")
            for key in value:
                if key.startswith("!"):
                    raise UnsupportedFeature(
                        f"this repository needs the feature {key[1:]!r}", hint="upgrade mvc"
                    )
            head = value.get("head")
            return cls(
                head=CommitId(head) if isinstance(head, bytes) else head,
                refs=RefPieces.from_value(value["refs"]),
                segments=tuple(SegmentRow(*row) for row in value["segments"]),
                oplog=OpLog.from_value(value["oplog"]),
                epoch=value["epoch"],
                fossils=tuple(Fossil(*item) for item in value["fossils"]),
                retired=tuple(Retired(*item) for item in value["retired"]),
                tombstones=value["tombstones"],
                extra={key: item for key, item in value.items() if key not in _KNOWN},
            )
        except (CorruptObject, KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"root is damaged: {error}", hint="run 'mvc doctor'") from error

    def with_changes(self, **changes: Any) -> Root:
        """A copy with some fields replaced."""
        return replace(self, **changes)


class RootStore:
    """Reads root and swaps it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self) -> tuple[Root, bytes]:
        """Root, and its exact bytes for :meth:`swap`."""
        data = self._backend.get(KEY)
        return Root.from_bytes(data), data

    def swap(self, expected: bytes | None, root: Root) -> None:
        """Replace root if it still is ``expected`` (None: if there is none).

        Raises:
            RootMoved: somebody else was faster; nothing changed.
        """
        self._backend.replace(KEY, expected, root.to_bytes())
