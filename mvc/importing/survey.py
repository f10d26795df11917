"""What an import would take, found out before anything is written."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from mvc.importing.known import Known
from mvc.importing.version import Content, Item, Listing, Origin, Version
from mvc.paths import path_fault

MOST_NAMED = 1000
"""Paths of each sort that are remembered by name."""


@dataclass(slots=True)
class Survey:
    """``versions`` are new or changed, ``known`` are there already; ``files`` and ``size`` (bytes) count each
    file of them once, however many versions have it. ``missing`` are objects that the source names and lacks,
    ``left_out`` (path, why) what no version may hold; both name the first :data:`MOST_NAMED`."""

    versions: int = 0
    known: int = 0
    files: int = 0
    size: int = 0
    missing: list[str] = field(default_factory=list)
    missing_count: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    left_out_count: int = 0


def is_known(version: Version, known: Mapping[str, Known]) -> bool:
    """Whether a version is there, and did not change since."""
    earlier = known.get(version.name)
    return earlier is not None and earlier.stamp == version.stamp


def usable(listing: Listing) -> Listing:
    """A listing without the names that no version may hold; a file in whose place there must be a folder
    makes way for what lies in that."""
    found = Listing({}, list(listing.left_out))
    folders = {path[:end] for path in listing.files for end in range(len(path)) if path[end] == "/"}
    for path, item in listing.files.items():
        fault = path_fault(path) or ("is a file and a folder at once" if path in folders else None)
        if fault is None:
            found.files[path] = item
        else:
            found.left_out.append((path, fault))
    return found


def survey(origin: Origin, known: Mapping[str, Known]) -> Survey:
    """Look at every new version.

    Raises:
        UserError: the source is damaged.
    """
    result = Survey()
    counted: set[tuple[Hashable, str]] = set()
    missing: set[str] = set()
    left_out: set[tuple[str, str]] = set()
    for version in origin.versions(known):
        if is_known(version, known):
            result.known += 1
            continue
        result.versions += 1
        listing = usable(version.listing())
        left_out.update(listing.left_out)
        for path, item in listing.files.items():
            if (item.content.key, path) in counted:
                continue
            counted.add((item.content.key, path))
            lacking = item.content.missing()
            if lacking is None:
                result.files += 1
                result.size += item.content.size
            else:
                missing.add(f"{lacking}, {path}")
    result.known += origin.passed_over
    result.missing, result.missing_count = sorted(missing)[:MOST_NAMED], len(missing)
    result.left_out, result.left_out_count = sorted(left_out)[:MOST_NAMED], len(left_out)
    return result


def content_of(item: Item) -> Content | None:
    """What is stored for a file: its bytes, or what stands for them where they are missing."""
    return item.content if item.content.missing() is None else item.instead
