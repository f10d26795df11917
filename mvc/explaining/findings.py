"""What is said of two versions: sentences, each with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that happened.

    ``kind`` names it for programs; ``text`` is a sentence without its full stop; ``path`` the new file it is
    about (of shards without their numbers), ``against`` what that was compared with. ``certified`` tells that
    rebuilding what the sentence speaks of, bit for bit, came out right; ``figures`` are the numbers in it.
    """

    kind: str
    text: str
    path: str
    against: str | None = None
    certified: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)
