"""Which file of which version an object is needed for, for the one error that ends a transfer."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.errors import DamageError, StorageError
from mvc.history.reader import ObjectReader, read_commit, read_manifest
from mvc.history.treediff import flatten
from mvc.objectid import CommitId, ManifestId, ObjectId


def needed_for(reader: ObjectReader, commits: Sequence[CommitId], identity: ObjectId) -> str:
    """A file of the newest of these versions, parents first, that an object belongs to, as words that follow
    its name; empty where none is found."""
    looked: set[ManifestId] = set()
    for commit in reversed(commits):
        try:
            for path, entry in flatten(reader, read_commit(reader, commit).tree).items():
                file = entry.id
                if file == identity:
                    return f", {path} of version {commit.short},"
                if not isinstance(file, ManifestId) or file in looked:
                    continue
                looked.add(file)
                if any(part.blob == identity for part in read_manifest(reader, file).parts):
                    return f", a piece of {path} of version {commit.short},"
        except (DamageError, StorageError):
            continue  # the error that is being told comes first
    return ""
