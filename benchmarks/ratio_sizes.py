"""Sizes that never change, kept between runs: what a coder of a certain version makes of certain bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path


class Sizes:
    """Kept in one JSON file; level 19 of zstd alone takes longer than all the rest of a run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, int | None] = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, coder: str, inputs: list[bytes], compute: Callable[[], int | None]) -> int | None:
        """What ``coder``, named with its version and settings, makes of the inputs; computed once."""
        digest = hashlib.sha256()
        for data in inputs:
            digest.update(hashlib.sha256(data).digest())
        key = f"{coder} {digest.hexdigest()[:32]}"
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def save(self) -> None:
        """Write the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._known, indent=0, sort_keys=True))
