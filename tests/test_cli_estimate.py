"""``mvc estimate`` on the command line: outside of any repository, as a tree, as JSON and as a drawing."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mvc.cli.main import main
from tests.make_files import safetensors_bytes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in fp32, its cast to bf16, and a note; in a folder that is no repository."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    values = (0.02 * np.random.default_rng(1).standard_normal((256, 256))).astype("<f4")
    words = values.view("<u4")
    half = ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")
    wide = {"w": ("F32", (256, 256), values.tobytes())}
    (models / "b.safetensors").write_bytes(safetensors_bytes(wide))
    (models / "a.safetensors").write_bytes(safetensors_bytes({"w": ("BF16", (256, 256), half.tobytes())}))
    (models / "note.txt").write_text("hello\n")
    return models


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main(list(words))
    return code, *capfd.readouterr()


def test_a_tree_and_totals_without_a_repository(folder, capfd):
    code, out, err = run(capfd, "estimate", "models")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    below = lines[next(number for number, line in enumerate(lines) if line.startswith("b.safetensors")) + 1]
    assert below.startswith("└─ a.safetensors") and "cast" in below
    assert any(line.startswith("3 files: ") and "to commit" in line for line in lines)
    assert sorted(path.name for path in folder.iterdir()) == ["a.safetensors", "b.safetensors", "note.txt"]


def test_json_has_what_help_says(folder, capfd):
    code, out, _err = run(capfd, "estimate", "models", "--json")
    found = json.loads(out)
    assert code == 0 and found["problems"] == []
    files = {file["path"]: file for file in found["files"]}
    assert list(files)[:2] == ["b.safetensors", "a.safetensors"]
    assert files["a.safetensors"]["parents"] == [{"path": "b.safetensors", "how": "cast", "distance": None}]
    assert found["size"] == sum(path.stat().st_size for path in folder.iterdir())
    assert found["stored_bytes"] == sum(file["stored_bytes"] for file in files.values())
    assert found["ratio"] == pytest.approx(found["stored_bytes"] / found["size"])
    assert {"seconds", "read_bytes", "took_seconds"} <= set(found)


def test_a_drawing_is_sound_and_has_every_file(folder, capfd):
    code, out, _err = run(capfd, "estimate", "models", "--plot", "family.svg")
    assert code == 0 and "drew family.svg" in out
    drawn = ElementTree.parse(folder.parent / "family.svg")
    titles = {item.text for item in drawn.iter("{http://www.w3.org/2000/svg}title")}
    assert titles == {"a.safetensors", "b.safetensors", "note.txt"}
    assert "cast" in {item.text for item in drawn.iter("{http://www.w3.org/2000/svg}text")}


def test_the_current_folder_and_several(folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    assert "a.safetensors" in run(capfd, "estimate")[1]
    (folder / "more").mkdir()
    (folder / "more" / "x.bin").write_bytes(b"x")
    monkeypatch.chdir(folder.parent)
    code, out, _err = run(capfd, "estimate", "models/more", "models", "--json")
    assert code == 0 and "models/more/x.bin" in {file["path"] for file in json.loads(out)["files"]}


def test_what_is_no_folder_is_told(folder, capfd):
    code, out, err = run(capfd, "estimate", "nowhere")
    assert (code, out) == (3, "") and "nowhere is no folder" in err


def test_what_is_left_out_is_told_on_stderr(folder, capfd):
    (folder / "link").symlink_to("note.txt")
    code, out, err = run(capfd, "estimate", "models")
    assert code == 0 and "link: is a link, which is not followed" in err and "link" not in out
