"""What the trainer says it wrote, against what lies on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from mvc.demo.shell import Failed

Files: TypeAlias = dict[str, tuple[int, str]]
"""Size in bytes and SHA-256 by file name."""


@dataclass(slots=True)
class Record:
    """A trainer's record: each step's files as they were handed to the disk, and each commit's seconds."""

    files: dict[int, Files] = field(default_factory=dict)
    commit_seconds: dict[int, float] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The newest step that was written."""
        return max(self.files)


def read_record(path: Path) -> Record:
    """Parse a record.

    Raises:
        Failed: a step that was trained again after a crash did not give the same files.
    """
    record = Record()
    for line in path.read_text().splitlines():
        event = json.loads(line)
        step = event["step"]
        if event["event"] == "committed":
            record.commit_seconds[step] = event["seconds"]
            continue
        files = {name: (file["size"], file["sha256"]) for name, file in event["files"].items()}
        if record.files.setdefault(step, files) != files:
            raise Failed(f"step {step} gave other files when it was trained again")
    return record


def verify(folder: Path, files: Files, what: str) -> None:
    """Compare the files in a folder with their record.

    Raises:
        Failed: one is missing or different.
    """
    for name, (size, sha256) in files.items():
        try:
            data = (folder / name).read_bytes()
        except FileNotFoundError:
            raise Failed(f"{what}: {name} is missing") from None
        if (len(data), hashlib.sha256(data).hexdigest()) != (size, sha256):
            raise Failed(f"{what}: {name} is not what was trained")
