"""What a version's weights are: how many parameters, of which dtypes, in which files; whether shards are
complete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mvc.registry.card.contents import Contents, File
from mvc.registry.card.roles import Role
from mvc.spans import Span, element_count

_SHARD = re.compile(
    r"(?P<stem>.+?)[-_](?P<number>[0-9]{1,5})-of-(?P<count>[0-9]{1,5})(?P<end>(?:\.[a-z0-9_]+)*)"
)


@dataclass(frozen=True, slots=True)
class Weights:
    """One model's weights: a file, or the shards of one.

    ``name`` is the path, of shards with a star for their number. ``parameters`` counts elements, once where
    several names share them, and leaves out ``buffers`` (elements that are not trained: running means,
    masks), ``scales`` of quantisation (and zero points) and ``averaged`` copies. ``dtypes`` has parameters by
    dtype, ``shapes`` those of the weights by name.
    """

    name: str
    files: tuple[str, ...]
    formats: tuple[str, ...]
    tensors: int
    parameters: int
    bytes: int
    dtypes: Mapping[str, int]
    buffers: int = 0
    scales: int = 0
    averaged: int = 0
    shared: int = 0
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Shards:
    """Whether what belongs together is there: against an index (``*.index.json``), or by the numbers in
    names. ``missing_tensors`` counts tensors that the index names and the files lack."""

    name: str
    files: int
    missing_files: tuple[str, ...]
    missing_tensors: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing_files and not self.missing_tensors


@dataclass(slots=True)
class _Count:
    """Sums over one group of files."""

    files: list[File]
    tensors: int = 0
    bytes: int = 0
    buffers: int = 0
    scales: int = 0
    averaged: int = 0
    shared: int = 0
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def weights_of(contents: Contents) -> Iterator[Weights]:
    """The models of a version, by path."""
    groups: dict[str, _Count] = {}
    for file in contents.files.values():
        if file.manifest.tensors:
            groups.setdefault(_group(file.path), _Count([])).files.append(file)
    for name, group in groups.items():
        dtypes: dict[str, int] = {}
        for file in group.files:
            _count(file, group, dtypes)
        if group.tensors:
            yield Weights(
                name=name,
                files=tuple(file.path for file in group.files),
                formats=tuple(sorted({file.manifest.format for file in group.files})),
                tensors=group.tensors,
                parameters=sum(dtypes.values()),
                bytes=group.bytes,
                dtypes=dict(sorted(dtypes.items(), key=lambda item: (-item[1], item[0]))),
                buffers=group.buffers,
                scales=group.scales,
                averaged=group.averaged,
                shared=group.shared,
                shapes=group.shapes,
            )


def _group(path: str) -> str:
    """What shards of one model have in common; other files stand alone."""
    folder, slash, name = path.rpartition("/")
    match = _SHARD.fullmatch(name)
    return path if match is None else f"{folder}{slash}{match['stem']}-*-of-{match['count']}{match['end']}"


def _count(file: File, group: _Count, dtypes: dict[str, int]) -> None:
    seen: set[tuple[int, int, Role]] = set()
    for span, role in zip(file.manifest.tensors, file.roles, strict=True):
        if role not in ("weight", "buffer", "scale", "average"):
            continue
        if role == "weight":
            group.shapes[span.name if _has_names(file) else f"{file.path}.{span.name}"] = span.shape
        place = (span.offset, span.length, role)
        if place in seen and span.length:
            group.shared += 1
            continue
        seen.add(place)
        _add(group, dtypes, span, role)


def _has_names(file: File) -> bool:
    return file.manifest.format != "npy"  # whose only array is called the same in all of them


def _add(group: _Count, dtypes: dict[str, int], span: Span, role: Role) -> None:
    elements = element_count(span.shape)
    if role == "buffer":
        group.buffers += elements
    elif role == "scale":
        group.scales += elements
    elif role == "average":
        group.averaged += elements
    else:
        group.tensors += 1
        group.bytes += span.length
        dtypes[span.dtype] = dtypes.get(span.dtype, 0) + elements


# --- shards ------------------------------------------------------------------------------------------------
def shards_of(contents: Contents) -> Iterator[Shards]:
    """Every group of shards, by path."""
    indexed: set[str] = set()
    for file in contents.files.values():
        if file.name.endswith(".index.json"):
            places = contents.mapping(file).get("weight_map")
            if isinstance(places, dict):
                found = _by_index(contents, file, places)
                indexed.update(
                    _group(_beside(file, name)) for name in set(places.values()) if type(name) is str
                )
                yield found
    groups: dict[str, tuple[re.Match[str], set[int]]] = {}
    for path in contents.paths:
        match = _SHARD.fullmatch(path.rpartition("/")[2])
        if match is not None and _group(path) not in indexed:
            groups.setdefault(_group(path), (match, set()))[1].add(int(match["number"]))
    for name, (match, numbers) in groups.items():
        yield _by_number(name, match, numbers)


def _beside(file: File, name: str) -> str:
    return f"{file.folder}/{name}" if file.folder else name


def _by_index(contents: Contents, index: File, places: Mapping[str, object]) -> Shards:
    names = {name for name in places.values() if isinstance(name, str)}
    missing = sorted(name for name in names if _beside(index, name) not in contents.paths)
    held: dict[str, set[str]] = {}
    for name in names:
        file = contents.files.get(_beside(index, name))
        if file is not None and file.manifest.tensors:  # an opaque one may hold anything
            held[name] = {span.name for span in file.manifest.tensors}
    absent = sum(
        1
        for tensor, name in places.items()
        if isinstance(name, str) and name in held and tensor not in held[name]
    )
    return Shards(index.path, len(names), tuple(missing), absent)


_MAX_NUMBERED = 10_000


def _by_number(name: str, match: re.Match[str], numbers: set[int]) -> Shards:
    count, width = int(match["count"]), len(match["number"])
    first = 0 if 0 in numbers else 1
    expected = range(first, first + min(count, _MAX_NUMBERED))
    # only the number differs from one to the next
    folder = name.rpartition("/")[0]
    missing = tuple(
        f"{folder + '/' if folder else ''}{match['stem']}-{number:0{width}}-of-{match['count']}{match['end']}"
        for number in expected
        if number not in numbers
    )
    return Shards(name, count, missing, 0)
