"""Describes the files of a work tree: each by itself, or else by a file beside it.

Some files say nothing of themselves: the external data of an ONNX model, the data of a TensorFlow checkpoint.
Where a file beside such a one names it plainly, the layout comes from there. It only helps to store the bytes
well; a neighbour that lies, or has gone, costs compression and nothing else.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from stat import S_ISREG

from mvc.fileio import FileIO
from mvc.formats import (
    OPAQUE,
    Description,
    NotThisFormat,
    Sibling,
    View,
    describe,
    describe_siblings,
    may_describe_siblings,
    sound,
)
from mvc.spans import Layout

MAX_DESCRIBING_FILES = 1000
"""Files of one folder that are read for what they say of others, by name."""

MAX_DESCRIBING_BYTES = 2 << 30
"""Of one of them: no Protocol Buffers message is larger."""

MAX_SPANS = 500_000
"""Tensors that are remembered of one folder."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM)


class Describer:
    """Describes files of one work tree. Make one for each command: it remembers what folders said.

    Not for use by several threads at once.
    """

    def __init__(self, io: FileIO, root: Path) -> None:
        self._io = io
        self._root = root
        self._folders: dict[str, _Folder] = {}

    def describe(self, path: str, view: View) -> Description:
        """Describe the file at the repository path ``path``, whose bytes are ``view``.

        What a file says of itself goes before what another says of it.

        Raises:
            OSError: the folder or a file in it cannot be read, for more than being gone or forbidden.
        """
        place = path.rpartition("/")[0]
        folder = self._folders.get(place)
        if folder is None:
            folder = self._folders[place] = _Folder(self._io, self._root, place)
        with folder.opened() as sibling:
            description = describe(view, sibling)
        if description.layout.format != OPAQUE:
            return description
        layout = folder.layouts().get(view.name)
        if layout is None:
            return description
        try:
            return Description(sound(view.size, layout))
        except NotThisFormat as refusal:
            return Description(Layout(OPAQUE), description.reason or f"{layout.format}: {refusal.reason}")


class _Folder:
    """The plain files of one folder, opened by their bare names."""

    def __init__(self, io: FileIO, root: Path, path: str) -> None:
        self._io = io
        self._root = root
        self._path = path
        self._listed: frozenset[str] | None = None
        self._layouts: Mapping[str, Layout] | None = None

    def layouts(self) -> Mapping[str, Layout]:
        """What its files say of others, by the others' names; of two that speak of one, the first by name."""
        if self._layouts is None:
            found: dict[str, Layout] = {}
            left = MAX_SPANS
            speaking = sorted(filter(may_describe_siblings, self._names()))
            for name in speaking[:MAX_DESCRIBING_FILES]:
                for other, layout in self._said_by(name).items():
                    if other in self._names() and other not in found and len(layout.spans) <= left:
                        found[other] = layout
                        left -= len(layout.spans)
            self._layouts = found
        return self._layouts

    def _said_by(self, name: str) -> Mapping[str, Layout]:
        with self.opened() as sibling:
            view = sibling(name)
            if view is None or view.size > MAX_DESCRIBING_BYTES:
                return {}
            return describe_siblings(view, sibling)

    @contextmanager
    def opened(self) -> Iterator[Sibling]:
        """Opens files of the folder; they are closed at the end."""
        with ExitStack() as stack:

            def sibling(name: str) -> View | None:
                fd = self._open(name)
                if fd is None:
                    return None
                stack.callback(self._io.close, fd)
                return _OpenSibling(self._io, fd, name)

            yield sibling

    def _open(self, name: str) -> int | None:
        """A handle of a plain file; None where there is none to be had. What is not in the folder's own list
        is never opened, whatever its name leads to."""
        if name not in self._names():
            return None
        try:
            fd = self._io.open_beneath(self._root, f"{self._path}/{name}" if self._path else name)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        if S_ISREG(self._io.stat_handle(fd).st_mode):
            return fd
        self._io.close(fd)
        return None

    def _names(self) -> frozenset[str]:
        if self._listed is None:
            try:
                handle = self._io.open_beneath(self._root, self._path, folder=True)
                try:
                    entries = self._io.scan_folder(handle)
                    self._listed = frozenset(e.name for e in entries if e.is_file(follow_symlinks=False))
                finally:
                    self._io.close(handle)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                self._listed = frozenset()
        return self._listed


class _OpenSibling:
    """One open file, as formats read it."""

    def __init__(self, io: FileIO, fd: int, name: str) -> None:
        self._io = io
        self._fd = fd
        self.name = name
        self.size = io.stat_handle(fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        data = self._io.read_at(self._fd, length, offset)
        if len(data) != length:
            raise NotThisFormat("truncated")
        return data
