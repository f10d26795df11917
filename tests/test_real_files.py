"""Real model files: every one comes back exactly, and damaged ones are described without harm.

They are not part of the repository; the suite stands on data that it makes itself.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from engine import assert_sound, make_repository, snapshot, switch_to
from make_files import BytesView, no_sibling

from mvc.formats import describe
from mvc.ops.ls import files
from mvc.spans import tile

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real model files (../shared/data) are not on this machine"
)

MOST_BYTES = 4 << 20
UNDERSTOOD = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
}
"""Formats of the files that have such a name, all of them."""


def real_files() -> list[Path]:
    return sorted(path for path in SHARED.rglob("*") if path.is_file())


def test_all_real_files_in_one_version_come_back(tmp_path) -> None:
    repository = make_repository(tmp_path / "repo")
    for path in real_files():
        target = tmp_path / "repo" / path.relative_to(SHARED)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    one = snapshot(repository).id
    with repository.reading() as view:
        formats = {row.path: row.manifest.format for row in files(view)}
    for path in real_files():
        relative = path.relative_to(SHARED)
        if path.suffix in UNDERSTOOD:
            assert formats[str(relative)] == UNDERSTOOD[path.suffix], relative
        (tmp_path / "repo" / relative).unlink()
    switch_to(repository, one.hex(), force=True)
    for path in real_files():
        assert (tmp_path / "repo" / path.relative_to(SHARED)).read_bytes() == path.read_bytes(), path
    assert_sound(tmp_path / "repo")


@pytest.mark.slow
def test_damaged_real_files_are_described_quickly_and_without_harm() -> None:
    """A few flipped bytes, most of them where headers stand, and cuts: never an exception, never long."""
    chance = random.Random(5)
    for path in real_files():
        data = path.read_bytes()
        if not 0 < len(data) <= MOST_BYTES:
            continue
        for _attempt in range(4):
            harmed = bytearray(data)
            for _flip in range(chance.choice((1, 2, 8))):
                at = chance.randrange(min(len(harmed), chance.choice((64, 4096, len(harmed)))))
                harmed[at] = chance.randrange(256)
            if chance.random() < 0.3:
                del harmed[chance.randrange(len(harmed)) :]
            began = time.perf_counter()
            layout = describe(BytesView(path.name, bytes(harmed)), no_sibling).layout
            assert time.perf_counter() - began < 20, path
            assert sum(region.length for region in tile(len(harmed), layout.spans)) == len(harmed)
