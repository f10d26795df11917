"""The card of a version, with a short face for terminals and a table for notebooks."""

from __future__ import annotations

from dataclasses import fields
from typing import Self

from mvc.api.html import html_table
from mvc.registry import card as registry
from mvc.text import count, size


class Card(registry.Card):
    """What a version is, holds, comes from and lacks; see :meth:`mvc.Revision.card`."""

    __slots__ = ()

    @classmethod
    def showing(cls, card: registry.Card) -> Self:
        """The same card with these faces."""
        return cls(**{field.name: getattr(card, field.name) for field in fields(card)})

    def __repr__(self) -> str:
        missing = sum(item.state == "missing" for item in self.checklist)
        told = "complete" if self.complete else f"{count(missing, 'part')} missing"
        return f"<Card {self.id.short}: {count(self.parameters, 'parameter')}, {told}>"

    def _repr_html_(self) -> str:
        held = [
            (item.name, " ".join(item.formats), f"{item.parameters:,}", size(item.bytes))
            for item in self.weights
        ]
        header = ("weights", "format", "parameters", "size")
        parts = [(item.name, item.state, item.note, item.hint) for item in self.checklist]
        return "".join(
            [
                html_table(f"{self.id.short} {self.commit.subject}", header, held, right=(2, 3)),
                html_table("a complete snapshot", ("part", "state", "where, why", "what to do"), parts),
            ]
        )
