"""Versions of a model as a fine-tune makes them: bf16 weights, each version moved from the one before.

Normally distributed weights in matrices of 4096 × 1024, moved by 1 % of their norm from version to version,
in safetensors files. Versions are written one at a time, so that fifty of them need the disk of one. What the
benchmarks that commit in this process need besides stands here too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mvc.objects import Person, Timestamp

WHO = Person("Bench", "bench@example.org")
ROWS, COLUMNS = 4096, 1024
SCALE = np.float32(0.02)
MOVE = 0.01


def now() -> Timestamp:
    """The time."""
    return Timestamp(int(time.time() * 1e6), 0)


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """A bf16 safetensors file of uint16 arrays."""
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": "BF16",
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


def bf16(values: np.ndarray) -> np.ndarray:
    """Round float32 to bf16 bits, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


class Model:
    """Weights that move; :meth:`write` puts the present version into a folder, :meth:`move` makes the next.

    ``megabytes`` are those of all ``files`` together; a file has at least one matrix of ``rows`` × 1024.
    ``frozen`` is the share of matrices that never move.
    """

    def __init__(
        self, megabytes: float, *, files: int = 1, rows: int = ROWS, seed: int = 1, frozen: float = 0.0
    ) -> None:
        self._rng = np.random.default_rng(seed)
        matrices = max(1, round(megabytes * 1e6 / (rows * COLUMNS * 2 * files)))
        self._files = {
            "model.safetensors" if files == 1 else f"model-{number:05d}.safetensors": {
                f"model.layers.{number * matrices + index}.weight": self._normal(rows) * SCALE
                for index in range(matrices)
            }
            for number in range(files)
        }
        self._still = round(frozen * matrices)

    def _normal(self, rows: int) -> np.ndarray:
        return self._rng.standard_normal((rows, COLUMNS), dtype=np.float32)

    def write(self, folder: Path) -> list[Path]:
        """Write this version; returns its files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, tensors in self._files.items():
            data = safetensors({tensor: bf16(values) for tensor, values in tensors.items()})
            (folder / name).write_bytes(data)
        return [folder / name for name in self._files]

    def move(self) -> None:
        """Every weight that is not frozen takes a small step."""
        step = SCALE * np.float32(MOVE)
        for tensors in self._files.values():
            for values in list(tensors.values())[self._still :]:
                values += self._normal(len(values)) * step


def written(model: Model, folder: Path, versions: int) -> Iterator[Path]:
    """Folders ``folder/0``, ``folder/1``, … with one version each, made as they are asked for."""
    for number in range(versions):
        if number:
            model.move()
        model.write(folder / str(number))
        yield folder / str(number)
