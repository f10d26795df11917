"""What of a store's versions is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from mvc.errors import UsageError
from mvc.ignore import IgnoreRules
from mvc.objectid import BlobId
from mvc.objects import Manifest

_PATH, _TENSOR = "path:", "tensor:"
_HINT = "--filter 'path:PATTERN' or --filter 'tensor:PATTERN'"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which part of the wanted versions to take; everything if nothing is said.

    ``depth``: so many commits of each line of history, the tips counted (None: all). ``paths``: patterns as
    in ignore files, the last one that matches a file counts, and ``!`` takes what it matches out again.
    ``tensors``: patterns of tensors' names as ``mvc merge --tensor`` has them (those of :mod:`fnmatch`). With
    any of either a piece comes only where it belongs to a file or a tensor that they match. Commits, trees
    and manifests of the versions taken always come whole.
    """

    depth: int | None = None
    paths: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether anything may be left out."""
        return self.depth is not None or self.leaves_pieces_out

    @property
    def leaves_pieces_out(self) -> bool:
        """Whether pieces of the versions taken may be left out."""
        return bool(self.paths or self.tensors)

    def texts(self) -> tuple[str, ...]:
        """The patterns as they are typed and stand in settings; :func:`parse_filter` reads them."""
        return (*(_PATH + one for one in self.paths), *(_TENSOR + one for one in self.tensors))


EVERYTHING = Filter()


def parse_filter(texts: Iterable[str], depth: int | None = None) -> Filter:
    """The filter that texts like ``path:*.safetensors`` and ``tensor:lm_head.*`` say.

    Raises:
        UsageError: one says neither, or nothing; or ``depth`` is less than 1.
    """
    if depth is not None and depth < 1:
        raise UsageError(f"a depth of {depth} takes nothing", hint="--depth 1 takes the newest version")
    paths: list[str] = []
    tensors: list[str] = []
    for text in texts:
        for word, patterns in ((_PATH, paths), (_TENSOR, tensors)):
            pattern = text.removeprefix(word)
            if pattern != text and pattern.strip() and "\n" not in pattern:
                patterns.append(pattern)
                break
        else:
            raise UsageError(f"{text!r} is no filter", hint=_HINT)
    return Filter(depth, tuple(paths), tuple(tensors))


def takes_file(filter: Filter, path: str) -> bool:
    """Whether a filter takes the whole of the file at a path."""
    if not filter.leaves_pieces_out:
        return True
    return _path_rules(filter.paths).takes(path)


def takes_tensor(filter: Filter, name: str) -> bool:
    """Whether a filter takes a tensor of this name, in whatever file."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in filter.tensors)


def pieces(filter: Filter, path: str, manifest: Manifest) -> Iterator[BlobId]:
    """The blobs of a file that a filter takes, in their order, each as often as the file has it.

    Where it takes a tensor it takes what lies between the tensors too, so that the file can be understood.
    """
    if takes_file(filter, path):
        for part in manifest.parts:
            if part.blob is not None:
                yield part.blob
        return
    taken = [span for span in manifest.tensors if takes_tensor(filter, span.name)] if filter.tensors else []
    if not taken:
        return
    wanted = _Stretches((span.offset, span.offset + span.length) for span in taken)
    covered = _Stretches((span.offset, span.offset + span.length) for span in manifest.tensors)
    for offset, part in manifest.placed_parts():
        end = offset + part.length
        if part.blob is not None and (wanted.touch(offset, end) or not covered.touch(offset, end)):
            yield part.blob


class _Stretches:
    """Stretches of a file, for questions in ascending order. Stretches may overlap."""

    def __init__(self, stretches: Iterable[tuple[int, int]]) -> None:
        self._joined: list[list[int]] = []
        for start, end in sorted(stretches):
            if start == end:
                continue
            if self._joined and start <= self._joined[-1][1]:
                self._joined[-1][1] = max(self._joined[-1][1], end)
            else:
                self._joined.append([start, end])
        self._at = 0

    def touch(self, start: int, end: int) -> bool:
        """Whether one of them has a byte from ``start`` to before ``end``."""
        while self._at < len(self._joined) and self._joined[self._at][1] <= start:
            self._at += 1
        return self._at < len(self._joined) and self._joined[self._at][0] < end


@lru_cache(maxsize=8)
def _path_rules(patterns: tuple[str, ...]) -> IgnoreRules:
    return IgnoreRules().pushed("", "\n".join(patterns))
