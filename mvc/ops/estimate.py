"""What storing folders of checkpoints would cost, and who was made from whom; reads and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from stat import S_ISREG
from time import perf_counter

from mvc.describing import Describer
from mvc.errors import FileChanged, MvcError
from mvc.fileio import FileIO
from mvc.forecast.family import Family, family
from mvc.forecast.pace import START_SECONDS, measure
from mvc.forecast.pricing import Cost, Pricing
from mvc.forecast.reading import Reader
from mvc.forecast.survey import Surveyed
from mvc.formats import NotThisFormat, View, read_values
from mvc.monitor import Monitor
from mvc.worktree.scan import scan


@dataclass(frozen=True, slots=True)
class Parent:
    """A file that another comes from, and how: ``copy``, ``re-saved``, ``part``, ``parts``, ``cast``,
    ``quantise``, ``prune``, ``merge``, ``LoRA merge``, ``rows`` or ``trained``. ``distance`` is how far
    training moved the weights, as a part of their norm."""

    path: str
    how: str
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """A file: what it comes from, its ``size``, the bytes that it would add, and the time to commit it."""

    path: str
    format: str
    size: int
    stored_bytes: int
    seconds: float
    parents: tuple[Parent, ...]


@dataclass(slots=True)
class Estimate:
    """``files`` come in the order in which they are best committed, parents first. ``problems`` are paths
    that were left out, or that a commit would refuse, with the reason."""

    files: list[Forecast] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    stored_bytes: int = 0
    seconds: float = 0.0
    read_bytes: int = 0
    took_seconds: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Stored ÷ raw; None when there is nothing."""
        return self.stored_bytes / self.size if self.size else None


def estimate(io: FileIO, folders: Mapping[str, Path], monitor: Monitor) -> Estimate:
    """Look at all files of some folders, by what each folder is to be called in paths (``""`` for not at
    all).

    Opens nothing for writing and follows no link. A file that cannot be read is told of, and left out.

    Raises:
        StorageError: a folder cannot be read.
        FileChanged: files changed while they were looked at.
    """
    began = perf_counter()
    result = Estimate()
    places: dict[str, Path] = {}
    reader = Reader(io, places)
    try:
        files = list(_survey(io, folders, reader, places, result))
        try:
            found = family(files, monitor)
            costs = _costs(files, found, monitor)
        except (NotThisFormat, OSError) as error:
            raise FileChanged(f"a file changed while it was looked at: {error}") from error
    finally:
        reader.close()
    pace = measure()
    for number in found.order:
        file, cost = files[number], costs[number]
        stored = round(cost.stored)
        seconds = pace.seconds(file.size, cost.coded, cost.based, 1)
        parents = tuple(_parents(files, found, number))
        result.files.append(Forecast(file.path, file.format, file.size, stored, seconds, parents))
        result.size += file.size
        result.stored_bytes += stored
        result.seconds += seconds
    result.seconds += START_SECONDS if result.files else 0.0
    result.read_bytes = reader.read_bytes
    result.took_seconds = perf_counter() - began
    return result


def _costs(files: Sequence[Surveyed], found: Family, monitor: Monitor) -> dict[int, Cost]:
    pricing = Pricing({file.identity: file for file in files}, monitor)
    costs: dict[int, Cost] = {}
    for number in found.order:
        merged = any(origin.relation == "LoRA merge" for origin in found.origins[number])
        costs[number] = pricing.add(files[number], merged=merged)
    return costs


def _parents(files: Sequence[Surveyed], found: Family, number: int) -> Iterator[Parent]:
    seen: set[int] = set()
    for origin in found.origins[number]:
        for source in origin.sources:
            if source not in seen:
                seen.add(source)
                yield Parent(files[source].path, origin.relation, origin.distance)


def _survey(
    io: FileIO, folders: Mapping[str, Path], reader: Reader, places: dict[str, Path], result: Estimate
) -> Iterator[Surveyed]:
    seen: set[Path] = set()
    for name, folder in folders.items():
        describer = Describer(io, folder)
        for path in _files(io, folder, name, result):
            called = f"{name}/{path}" if name else path
            place = Path(normpath(folder / path))
            if place in seen or called in places:  # one of the folders lies in another
                continue
            seen.add(place)
            places[called] = folder / path
            try:
                yield _look(reader, describer, called, path)
            except NotThisFormat as refusal:
                result.problems.append((called, f"changed while it was read ({refusal.reason})"))
            except OSError as error:
                result.problems.append((called, f"cannot be read ({error.strerror or error})"))
            except MvcError as error:
                result.problems.append((called, error.message))


def _files(io: FileIO, folder: Path, name: str, result: Estimate) -> Iterator[str]:
    """Paths of plain files, as a commit would find them; also of those with names that it would refuse."""
    prefix = f"{name}/" if name else ""
    found = scan(io, folder)
    result.problems += [(prefix + path, why) for path, why in found.skipped]
    paths: list[str] = []
    for path, file in found.files.items():
        if file.link_target is None:
            paths.append(path)
        else:
            result.problems.append((prefix + path, "is a link, which is not followed"))
    for path, why in found.refused:
        result.problems.append((prefix + path, f"{why}; a commit would refuse it"))
        try:
            if S_ISREG(io.stat(folder / path).st_mode):
                paths.append(path)
        except OSError:
            continue  # it has gone, and what there was to say of it is said
    yield from sorted(paths)


def _look(reader: Reader, describer: Describer, called: str, path: str) -> Surveyed:
    """A file with all that is read of it for itself."""
    view = reader.view(called)
    description = describer.describe(path, view)
    values = read_values(description.layout.format, view, _no_sibling)
    modified = reader.file(called).status.st_mtime_ns
    file = Surveyed(reader, called, view.size, modified, description, values)
    _ = file.contents, file.sketches, file.pieces
    return file


def _no_sibling(_name: str) -> View | None:
    return None
