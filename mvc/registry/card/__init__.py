"""The card of a version: what it is, what it holds, where it comes from, and what is missing.

It is computed from manifests, small documents and the bytes between tensors, never from tensors, and never
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from mvc.history.reader import ObjectReader
from mvc.history.treediff import Change
from mvc.objectid import CommitId
from mvc.registry.card.checklist import Item, checklist
from mvc.registry.card.findings import Findings, look_at


@dataclass(frozen=True, slots=True)
class Card(Findings):
    """A version at a glance: what was found in it, and what a complete snapshot would need besides."""

    checklist: tuple[Item, ...]

    @classmethod
    def of(cls, findings: Findings) -> Self:
        """The card that says these."""
        found = {field.name: getattr(findings, field.name) for field in fields(findings)}
        return cls(**found, checklist=tuple(checklist(findings)))

    @property
    def complete(self) -> bool:
        """Whether no part of a complete snapshot is missing."""
        return all(item.state != "missing" for item in self.checklist)


def build_card(
    reader: ObjectReader,
    identity: CommitId,
    *,
    changes: Sequence[Change] | None = None,
    weights_id: str | None = None,
) -> Card:
    """Look at a version.

    ``changes`` are those against its first parent, where the caller has them already; ``weights_id`` is taken
    over as it is.

    Raises:
        DamageError: a commit, tree, manifest or blob that is needed cannot be read.
    """
    return Card.of(look_at(reader, identity, changes=changes, weights_id=weights_id))
