"""Notes: what was learned of a version after it was made; its id stays as it is (docs/format.md, *Notes*)."""

from mvc.registry.notes.measured import Measured, lay_over, metrics_of
from mvc.registry.notes.note import Note
from mvc.registry.notes.shelf import Notes

__all__ = ["Measured", "Note", "Notes", "lay_over", "metrics_of"]
