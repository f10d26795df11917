"""What a repair found and did."""

from __future__ import annotations

from dataclasses import dataclass, field

from mvc.upkeep.check import Damage
from mvc.upkeep.damaged import DamagedObject


@dataclass(frozen=True, slots=True)
class Restored:
    """An object that could not be read before: its kind in a word, its id in hexadecimal, and where it came
    from: a path of the work tree, a donor, or empty for another record in the store itself."""

    kind: str
    id: str
    source: str


@dataclass
class Repaired:
    """``told`` says what was wrong with root, refs, log and index and what was done; ``restored`` are the
    objects that came back; ``recovered`` new branches, by their full names, with the ids of versions that
    had lost theirs; ``aside`` the files that were put into the store's folder of damaged ones.

    ``lost`` is what could not be brought back, with all that it touches; ``remaining`` other damage that is
    left. In a dry run nothing was changed, and all this is what would have been.
    """

    dry_run: bool
    told: list[str] = field(default_factory=list)
    restored: list[Restored] = field(default_factory=list)
    recovered: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    lost: list[DamagedObject] = field(default_factory=list)
    remaining: list[Damage] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything is there and sound now."""
        return not self.lost and not self.remaining

    @property
    def did_something(self) -> bool:
        """Whether there was anything to repair that could be."""
        return bool(self.told or self.restored or self.recovered or self.aside)
