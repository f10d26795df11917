"""Archives of arrays as numpy and torch write them, and read back only where every member's checksum fits."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest

Arrays = Mapping[str, np.ndarray]


def npz_bytes(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read_npz(data: bytes) -> dict[str, np.ndarray]:
    assert_sound(data)
    with np.load(io.BytesIO(data)) as found:
        return dict(found)


def torch_bytes(arrays: Arrays) -> bytes:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, buffer)
    return buffer.getvalue()


def read_torch(data: bytes) -> dict[str, np.ndarray]:
    torch = pytest.importorskip("torch")
    assert_sound(data)
    found = torch.load(io.BytesIO(data), weights_only=True)
    return {name: tensor.numpy() for name, tensor in found.items()}


def assert_sound(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
