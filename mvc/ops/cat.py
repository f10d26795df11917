"""The bytes of a file or tensor of a version."""

from __future__ import annotations

from collections.abc import Iterator

from mvc.errors import RevisionNotFound, UsageError
from mvc.history.reader import read_range
from mvc.history.revisions import lookup_path, resolve
from mvc.objectid import ManifestId
from mvc.objects import FOLDER, Manifest
from mvc.restore import file_pieces
from mvc.view import View


def cat(view: View, revision: str) -> Iterator[bytes]:
    """Bytes of ``REV:PATH``, or of one tensor as it stands in the file for ``REV:PATH#TENSOR``.

    Raises:
        UsageError: no path is given.
        RevisionNotFound: no such version, file or tensor.
    """
    found = resolve(revision, view.objects, view)
    if found.commit is None or not found.path:
        raise UsageError(
            f"{revision} names no file", hint="mvc cat REV:PATH, for example HEAD:model.safetensors"
        )
    entry = lookup_path(view.objects, view.commit(found.commit).tree, found.path)
    if entry is None:
        raise RevisionNotFound(f"that version has no file {found.path!r}", hint="'mvc ls REV' lists them")
    if entry.mode == FOLDER:
        raise UsageError(f"{found.path} is a folder", hint=f"mvc ls {revision}")
    manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
    if found.tensor is None:
        return file_pieces(view.objects, manifest, verify=True)
    for span in manifest.tensors:
        if span.name == found.tensor:
            return read_range(view.objects, manifest, span.offset, span.length)
    raise RevisionNotFound(
        f"{found.path} has no tensor {found.tensor!r}", hint="'mvc ls --tensors' lists them"
    )
