"""Where objects come from that are not at hand: on the other side of a network, a few at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from mvc.objectid import CommitId, ObjectId
from mvc.odb.record import Record
from mvc.odb.segment import Entry

if TYPE_CHECKING:
    from mvc.odb.database import ObjectDatabase


class Supply(Protocol):
    """Fetches records before they are read, many in one go. Safe to use from several threads."""

    @property
    def shallow(self) -> Collection[CommitId]:
        """Commits whose parents were left out on purpose."""
        ...

    @property
    def is_far(self) -> bool:
        """Whether the packs and the index themselves lie behind the network: then everything is to be brought
        before it is looked for, else what is not found."""
        ...

    def expects(self, identity: ObjectId, /) -> bool:
        """Whether an object that is not here may be missing because it lies elsewhere."""
        ...

    def bring(self, wanted: Collection[ObjectId], database: ObjectDatabase, /) -> None:
        """Have these objects at hand for a database, and what they lean on, as far as they can be had.

        Raises:
            StorageError: whoever has them cannot be reached, or refuses.
            CorruptObject: what came is not what was asked for.
        """
        ...

    def entries(self, identity: ObjectId, /) -> list[Entry]:
        """Where a record lies that was brought and that the index does not name; its pack has no name while
        it is in memory."""
        ...

    def record(self, identity: ObjectId, /) -> Record | None:
        """A record that was brought and is in memory."""
        ...
