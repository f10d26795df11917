"""Objects that were lost and are stored again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvc.dtypes import DTYPES
from mvc.objectid import ObjectId
from mvc.odb.record import Record
from mvc.odb.writer import Hint, ObjectWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Kept:
    """Stores what comes back, each object once and without leaning on any other. ``sources`` says where each
    came from."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self.sources: dict[ObjectId, str] = {}

    def keep(self, identity: ObjectId, plain: bytes, source: str, dtype: str = "") -> None:
        """Store an object from its plain bytes, which hash to its id; ``dtype`` names its elements' type."""
        if identity not in self.sources:
            self.add(self._writer.prepare(identity, plain, Hint(DTYPES.get(dtype))), source)

    def prepare(self, identity: ObjectId, plain: Buffer, hint: Hint) -> Record:
        """Encode an object, as the pipeline of a commit asks for it; from several threads if it likes."""
        return self._writer.prepare(identity, plain, hint)

    def add(self, record: Record, source: str) -> None:
        """Store an encoded object."""
        if record.id not in self.sources:
            self.sources[record.id] = source
            self._writer.add(record)
