"""What tensors of several files are called when they come into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mvc.errors import UserError
from mvc.paths import shown
from mvc.spans import Span


def joined_names(tables: Mapping[str, Sequence[Span]]) -> dict[str, dict[Span, str]]:
    """For each file (by its path) its tensors' names in the export.

    As they are, where no two tensors share a name, as in the shards of one model. Else every name begins
    with its file's path, without the suffix and with ``.`` for ``/``:
    ``unet.model.conv.weight`` is ``conv.weight`` of ``unet/model.safetensors``. Of several rows of one file
    with one name the first counts.

    Raises:
        UserError: two tensors have one name even so.
    """
    own = {path: _first_of_each(table) for path, table in tables.items() if table}
    names = [name for table in own.values() for name in table]
    if len(set(names)) == len(names):
        return {path: {span: name for name, span in table.items()} for path, table in own.items()}
    joined = {
        path: {span: f"{_stem(path)}.{name}" for name, span in table.items()} for path, table in own.items()
    }
    seen: dict[str, str] = {}
    for path, table in joined.items():
        for name in table.values():
            if name in seen:
                raise UserError(
                    f"{seen[name]} and {path} both have a tensor {shown(name)}",
                    hint="export one file at a time: mvc export --format safetensors REV:PATH DEST",
                )
            seen[name] = path
    return joined


def _first_of_each(table: Sequence[Span]) -> dict[str, Span]:
    found: dict[str, Span] = {}
    for span in table:
        found.setdefault(span.name, span)
    return found


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, _dot, _suffix = name.rpartition(".")
    return (folder + slash + (stem if stem else name)).replace("/", ".")
