"""Which stored files hold the weights of another file in other bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from mvc.describing import Describer
from mvc.errors import ObjectPurged
from mvc.fileio import FileIO
from mvc.history.reader import ObjectReader, read_manifest
from mvc.history.treediff import Change
from mvc.objectid import ManifestId
from mvc.objects import Manifest, TreeEntry
from mvc.source import OpenFile
from mvc.spans import Span
from mvc.weighing import Weigher
from mvc.weights import Form, Read, digests, form


class _Candidate(NamedTuple):
    path: str
    id: ManifestId
    manifest: Manifest


class SameWeights:
    """Looks among some stored files, given by path. Names, dtypes and shapes are compared first, so nearly
    always nothing but manifests is read; then tensors, until one differs."""

    def __init__(self, weigher: Weigher, objects: ObjectReader, files: Mapping[str, TreeEntry]) -> None:
        self._weigher = weigher
        self._objects = objects
        self._files = files

    @cached_property
    def _by_form(self) -> dict[frozenset[Form], list[_Candidate]]:
        found: dict[frozenset[Form], list[_Candidate]] = {}
        for path, entry in self._files.items():
            identity = ManifestId(entry.id)
            try:
                manifest = read_manifest(self._objects, identity)
            except ObjectPurged:
                continue  # nobody can tell any more what weights it held
            forms = forms_of(manifest.tensors)
            if forms and len(forms) == len(manifest.tensors):  # two tensors of one name tell nothing
                found.setdefault(forms, []).append(_Candidate(path, identity, manifest))
        return found

    def __bool__(self) -> bool:
        return bool(self._by_form)

    def is_copy(self, path: str, identity: ManifestId) -> bool:
        """Whether a stored file has the very bytes of one of the files."""
        try:
            old = read_manifest(self._objects, ManifestId(self._files[path].id))
        except ObjectPurged:
            return False
        return old.same_file(read_manifest(self._objects, identity))

    def of_stored(self, identity: ManifestId) -> str | None:
        """The path of the file that holds the weights of a stored one; None when none does, or it has none.

        Raises:
            DamageError: stored bytes are missing or wrong.
        """
        manifest = read_manifest(self._objects, identity)
        wanted = self._weigher.digests(identity, manifest)
        return self._find(manifest.tensors, lambda: wanted)

    def of_file(self, spans: Sequence[Span], read: Read) -> str | None:
        """The same for a file that is not stored: where its tensors lie, and how it is read.

        Raises:
            NotThisFormat: it became shorter.
            OSError: it cannot be read.
        """
        return self._find(spans, lambda: digests(spans, read))

    def together_in(self, files: Sequence[WorkFile]) -> bool:
        """Whether some files that are not stored hold together what these hold together, as when a model is
        cut into shards.

        Raises:
            NotThisFormat: one became shorter.
            OSError: one cannot be read.
        """
        old = [candidate for group in self._by_form.values() for candidate in group]
        before = [span for candidate in old for span in candidate.manifest.tensors]
        after = [span for file in files for span in file.spans]
        wanted = forms_of(before)
        if not wanted or wanted != forms_of(after) or not len(wanted) == len(before) == len(after):
            return False
        theirs = chain.from_iterable(self._weigher.digests(item.id, item.manifest) for item in old)
        ours = chain.from_iterable(digests(file.spans, file.read) for file in files)
        try:
            return same_rows(before, theirs, after, ours)
        except ObjectPurged:
            return False

    def _find(self, spans: Sequence[Span], ours: Callable[[], Iterable[bytes | None]]) -> str | None:
        wanted = forms_of(spans)
        if not wanted or len(wanted) != len(spans):
            return None  # before all manifests of a version are read
        for candidate in self._by_form.get(wanted, ()):
            try:
                theirs = self._weigher.digests(candidate.id, candidate.manifest)
                if same_rows(candidate.manifest.tensors, theirs, spans, ours()):
                    return candidate.path
            except ObjectPurged:
                continue  # a tensor of one of them
        return None


class WorkFile(NamedTuple):
    """A file of the work tree: where its tensors lie, and how it is read."""

    path: str
    spans: Sequence[Span]
    read: Read

    @classmethod
    def describe(cls, io: FileIO, root: Path, path: str, describer: Describer) -> WorkFile:
        """Find out where its tensors lie.

        Raises:
            OSError: it cannot be read.
        """
        with _opened(io, root / path) as source:
            spans = describer.describe(path, source).layout.spans
        return cls(path, spans, reading(io, root / path))


def reading(io: FileIO, place: Path) -> Read:
    """Reads exactly so many bytes of a file, which is opened anew for each stretch: no handle stays open."""

    def read(offset: int, length: int) -> bytes:
        with _opened(io, place) as source:
            return source.read(offset, length)

    return read


@contextmanager
def _opened(io: FileIO, place: Path) -> Iterator[OpenFile]:
    fd = io.open_read(place)
    try:
        yield OpenFile(io, fd, place.name)
    finally:
        io.close(fd)


def forms_of(spans: Iterable[Span]) -> frozenset[Form]:
    """Names, dtypes and shapes of some tensors."""
    return frozenset(map(form, spans))


def same_rows(
    old: Sequence[Span],
    old_digests: Iterable[bytes | None],
    new: Sequence[Span],
    new_digests: Iterable[bytes | None],
) -> bool:
    """Whether two sets of tensors of equal forms have equal elements. Digests are taken one by one on both
    sides, and not beyond the first pair that differs, as far as the order of the tensors allows."""
    theirs, ours = zip(old, old_digests, strict=True), zip(new, new_digests, strict=True)
    seen: dict[Form, bytes | None] = {}
    for span, digest in theirs:
        key = form(span)
        while key not in seen:
            other, found = next(ours)
            seen[form(other)] = found
        if digest is None or seen[key] != digest:
            return False
    return True


def of_changes(
    weigher: Weigher,
    objects: ObjectReader,
    changes: Iterable[Change],
    old_files: Callable[[], Mapping[str, TreeEntry]],
) -> dict[str, str]:
    """For the changed and added files of two versions the old file whose weights they hold in other bytes:
    the one at their own path, or any of ``old_files``, which is asked for when a file was added.

    Raises:
        DamageError: stored bytes are missing or wrong.
    """
    changes = list(changes)
    gone = {change.path for change in changes if change.old and not change.new}
    every: SameWeights | None = None
    found: dict[str, str] = {}
    for change in changes:
        if change.new is None or change.same_content:
            continue
        if change.old is None and every is None:
            files = sorted(old_files().items(), key=lambda item: item[0] not in gone)
            every = SameWeights(weigher, objects, dict(files))
        among = every
        if change.old is not None:
            among = SameWeights(weigher, objects, {change.path: change.old})
        identity = ManifestId(change.new.id)
        other = None if among is None else among.of_stored(identity)
        if other is not None and among is not None and not among.is_copy(other, identity):
            found[change.path] = other
    return found
