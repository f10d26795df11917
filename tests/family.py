"""A family of models made on the spot: a base, and what people make out of it. Needs numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from mvc.odb.record import Record
from mvc.ops.init import init
from mvc.predictors.floats import store
from mvc.repo import Repository
from mvc.workspace import files_of
from tests.engine import assert_sound, history, open_repository, snapshot, switch_to, tree
from tests.faults import FaultIO
from tests.make_files import from_bf16, safetensors_bytes, to_bf16

Arrays = dict[str, NDArray[np.float32]]

LARGE = "model.layers.0.mlp.up_proj.weight"
SHAPES = {LARGE: (700, 992), "model.layers.0.mlp.down_proj.weight": (96, 992), "model.norm.weight": (992,)}
"""A matrix of several pieces, whose rows end inside of them, one of a single piece, and a small vector."""

_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "i1"}


def weights(seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Arrays:
    """Matrices spread like trained ones, each row with a loudness of its own; vectors close to one."""
    rng = np.random.default_rng(seed)
    made: Arrays = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape, np.float32)
        if len(shape) > 1:
            loudness = rng.standard_normal((shape[0],) + (1,) * (len(shape) - 1), np.float32)
            made[name] = values * np.float32(0.03) * np.exp(0.3 * loudness)
        else:
            made[name] = 1 + np.float32(0.1) * values
    return made


def tuned(before: Arrays, seed: int, step: float = 0.01) -> Arrays:
    """The weights after some training: each tensor moved by this part of its norm."""
    rng = np.random.default_rng(seed)
    return {
        name: values
        + rng.standard_normal(values.shape, np.float32) * np.float32(step * np.sqrt(np.mean(values**2)))
        for name, values in before.items()
    }


def as_dtype(values: NDArray[np.float32], dtype: str) -> bytes:
    """The values in an element type, little-endian."""
    if dtype == "BF16":
        return to_bf16(values).astype("<u2").tobytes()
    if dtype.startswith("F8"):
        bits = np.empty(values.size, np.uint8)
        store(np.array(values, np.float32).reshape(-1), dtype, bits)
        return bits.tobytes()
    return np.asarray(values).astype(_NUMPY[dtype]).tobytes()


def through(values: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
    """The values as an element type holds them."""
    if dtype == "BF16":
        return from_bf16(to_bf16(values))
    return values.astype(_NUMPY[dtype]).astype(np.float32)


def rounded(model: Arrays, dtype: str) -> Arrays:
    """A model as it is read from a file of some element type."""
    return {name: through(values, dtype) for name, values in model.items()}


def file_of(model: Arrays, dtype: str = "BF16") -> bytes:
    """A safetensors file of the model."""
    return safetensors_bytes({n: (dtype, v.shape, as_dtype(v, dtype)) for n, v in model.items()})


class Store:
    """A repository and what its user put into it, version by version. Nothing is synced to the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        init(FaultIO(), folder, Monitor())
        self.versions: list[dict[str, tuple[bytes, bool]]] = []

    @property
    def repository(self) -> Repository:
        """Opened anew, as a command would."""
        return open_repository(self.folder, FaultIO())

    def commit(self, files: Mapping[str, bytes], repository: Repository | None = None) -> int:
        """Put files into the work tree and commit; returns the bytes that the version took."""
        for name, data in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        stored = snapshot(repository or self.repository).stored_bytes
        self.versions.append(tree(self.folder))
        return stored

    def check(self) -> None:
        """Everything is sound, and every version comes back bit for bit."""
        assert_sound(self.folder)
        commits = history(self.repository)[::-1]
        assert len(commits) == len(self.versions)
        for identity, before in zip(commits, self.versions, strict=True):
            switch_to(self.repository, identity.hex())
            assert tree(self.folder) == before

    def records(self, path: str, tensor: str | None = None, revision: int = -1) -> Iterator[Record]:
        """The records of a file's blobs, or of one tensor's."""
        with self.repository.reading() as view:
            identity = history(self.repository)[::-1][revision]
            entry = files_of(view, identity)[path]
            manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
            span = next((span for span in manifest.tensors if span.name == tensor), None)
            for offset, part in manifest.placed_parts():
                inside = span is None or span.offset <= offset < span.offset + span.length
                if part.blob is not None and inside:
                    yield view.objects.record(part.blob)

    def recipes(self, path: str, tensor: str | None = LARGE, revision: int = -1) -> set[str]:
        """How the pieces of a tensor are predicted: names of recipes, ``concat`` for the plain base, and
        ``alone``."""
        return {
            record.recipe.name if record.recipe else "concat" if record.bases else "alone"
            for record in self.records(path, tensor, revision)
        }
