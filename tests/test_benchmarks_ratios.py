"""How ratios are measured, held against goals, and put on a page."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import coders
from benchmarks.coders import File, Peer
from benchmarks.corpus_files import grown_file
from benchmarks.ratio_cases import MOVES, Case, Folder, Goal, move_goal
from benchmarks.ratio_page import BEGIN, END, charts, replaced, section
from benchmarks.ratio_sizes import Sizes
from benchmarks.ratio_store import Store
from benchmarks.ratio_table import as_text, markdown, number, ratio, verdict
from benchmarks.ratios import Bench, measure_case, measure_folder
from benchmarks.tensor_files import bf16, safetensors

ROWS, WIDTH = 256, 64
EMBEDDING = "model.embed_tokens.weight"


def write(path: Path, move: float = 0.0, seed: int = 1) -> Path:
    """Weights of a fixed draw, moved by a share of their size."""
    rng = np.random.default_rng(5)
    drawn = {EMBEDDING: (ROWS, WIDTH), "model.layers.0.mlp.up_proj.weight": (128, WIDTH)}
    other = np.random.default_rng(seed)
    out = {}
    for name, shape in drawn.items():
        value = rng.standard_normal(shape) * 0.02
        moved = value + move * 0.02 * other.standard_normal(shape)
        out[name] = bf16(moved.astype("<f4"))
    path.write_bytes(safetensors(out))
    return path


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench({}, Sizes(tmp_path / "sizes.json"), quick=True)


@pytest.fixture
def base(tmp_path) -> Path:
    return write(tmp_path / "base.safetensors")


@pytest.mark.parametrize(("move", "least"), MOVES)
def test_goals_hold_where_they_are_set(move: float, least: float) -> None:
    assert move_goal(move) == pytest.approx(least)


def test_no_goal_reaches_further_than_the_last() -> None:
    assert move_goal(0.001) == 4.5
    assert move_goal(0.11) is None
    middle = move_goal((0.03 * 0.05) ** 0.5)
    assert middle == pytest.approx((2.9 + 2.5) / 2)


@given(st.floats(1e-4, 0.1), st.floats(1e-4, 0.1))
def test_a_longer_way_never_has_a_higher_goal(first: float, second: float) -> None:
    near, far = (move_goal(move) for move in sorted((first, second)))
    assert near is not None
    assert far is not None
    assert near >= far


def test_a_commit_grows_the_store_by_what_it_says(base) -> None:
    with Store() as store:
        before = store.bytes()
        grown = store.commit([("model.safetensors", base)])
        assert grown.store == store.bytes() - before
        assert grown.raw == base.stat().st_size
        assert 0 < grown.blobs < grown.records < grown.store
        again = store.commit([("copy.safetensors", base)])
        assert again.blobs == 0
        same = store.commit([("copy.safetensors", base)])
        assert same.records == 0


def test_a_missing_command_is_a_reason_and_no_size(base) -> None:
    with Store() as store:
        store.commit([("model.safetensors", base)])
        answer = store.collect("--no-such-option")
    assert isinstance(answer, str)
    assert answer


def test_a_move_is_measured_and_judged(base, bench, tmp_path) -> None:
    target = write(tmp_path / "target.safetensors", 0.05)
    row = measure_case(Case("f", "t", "s", target, [base], True, Goal("move")), bench)
    assert row["move"] == pytest.approx(0.05, rel=0.05)
    assert row["reached"] == row["raw"] / row["records"]
    assert row["met"] == (row["reached"] >= 2.5)
    assert row["sizes"]["bound grouped"] < row["blobs"]
    assert row["sizes"]["bound grouped"] <= row["sizes"]["bound residual"] <= row["sizes"]["codec residual"]


def test_a_stretch_is_what_the_target_takes_after_gc(base, bench, tmp_path) -> None:
    target = write(tmp_path / "target.safetensors", 0.05)
    row = measure_case(Case("f", "t", "s", target, [base], True, Goal("ratio", 1.1, best=1.2)), bench)
    assert 0 < row["grown after gc --best"] < row["raw"]
    assert "after gc --best, of 1.2: " in verdict(row)


def test_a_base_that_cannot_be_reached_meets_nothing(base, bench) -> None:
    row = measure_case(Case("f", "t", "s", base, [], goal=Goal("ratio", 1e6)), bench)
    assert row["met"] is False
    assert row["move"] is None
    assert row["sizes"]["codec ig"] is None
    assert row["sizes"]["bound changes"] is None


def test_the_same_tensors_bring_no_new_bytes(base, bench, tmp_path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(base.read_bytes())
    row = measure_case(Case("f", "t", "s", copy, [base], goal=Goal("share", 0.05)), bench)
    assert row["blobs"] == 0
    assert row["met"] is True
    assert row["unchanged"] == 1


def test_new_rows_are_held_against_their_own_cost(base, bench, tmp_path) -> None:
    grown = grown_file(base, tmp_path / "grown.safetensors", 32)
    row = measure_case(Case("f", "t", "s", grown, [base], True, Goal("rows", 3)), bench)
    assert row["goal"] == "≤ 3 × the rows alone"
    assert row["reached"] > 0.5
    assert row["met"] == (row["reached"] <= 3)


def test_a_bound_binds_only_where_little_changed(base, bench, tmp_path) -> None:
    far = write(tmp_path / "far.safetensors", 0.1)
    assert "goal" not in measure_case(Case("f", "t", "s", far, [base], True, Goal("bound", 0.8)), bench)
    near = write(tmp_path / "near.safetensors", 1e-6)
    row = measure_case(Case("f", "t", "s", near, [base], True, Goal("bound", 0.8)), bench)
    assert 0 < row["reached"] < 1


def test_a_folder_is_all_its_files(base, bench, tmp_path) -> None:
    moved = write(tmp_path / "moved.safetensors", 0.01)
    folder = Folder("both", tmp_path, [base, moved], 0.9, apart={"second": [moved]})
    row = measure_folder(folder, bench)
    assert row["files"] == 2
    assert row["raw"] == base.stat().st_size + moved.stat().st_size
    assert row["records"] < row["store"]
    assert row["apart"]["second"]["raw"] == moved.stat().st_size
    assert row["peers"]["XOR planes, zstd -3"] < row["peers"]["zstd -3"]
    assert row["met"] == (row["store"] / row["raw"] <= 0.9)


def test_a_missing_peer_says_why() -> None:
    peer = Peer("no_such_library_at_all", sys.executable)
    try:
        assert peer.version is None
        assert "no_such_library_at_all" in peer.missing
        assert peer.size(b"1234", "BF16") is None
    finally:
        peer.close()


def test_a_patch_is_smaller_than_the_whole(base, tmp_path) -> None:
    data = File(base).data
    changed = data[:9000] + b"something else" + data[9000:]
    assert coders.zstd(changed, 9, data) < 0.05 * coders.zstd(changed, 9)


def test_sizes_are_worked_out_once(tmp_path) -> None:
    sizes = Sizes(tmp_path / "sizes.json")
    assert sizes.get("coder 1", [b"a"], lambda: 7) == 7
    sizes.save()
    again = Sizes(tmp_path / "sizes.json")
    assert again.get("coder 1", [b"a"], lambda: 8) == 7
    assert again.get("coder 2", [b"a"], lambda: 8) == 8
    assert again.get("coder 1", [b"b"], lambda: 9) == 9


def result(rows: list[dict], folders: list[dict]) -> dict:
    return {
        "machine": {"cores": 2},
        "corpus": {"maker": "nobody", "parameters": 1, "losses": {}, "missing": {"x": "no torch"}},
        "peers": {"zipnn": "missing: no module"},
        "missing": {"checkpoints": "not there"},
        "cases": rows,
        "folders": folders,
        "histories": [],
        "complete": False,
    }


def test_a_page_has_tables_and_charts(base, bench, tmp_path) -> None:
    target = write(tmp_path / "target.safetensors", 0.05)
    case = Case("bf16 moved", "a fine-tune", "corpus", target, [base], True, Goal("move"))
    folder = measure_folder(Folder("a folder", tmp_path, [base, target]), bench)
    found = result([measure_case(case, bench)], [folder])
    drawn = charts(found)
    assert set(drawn) == {"ratio-move-corpus.svg", "ratio-unchanged.svg", "ratio-folder-1.svg"}
    for chart in drawn.values():
        ElementTree.fromstring(chart)
    text = section(found, list(drawn))
    assert "a fine-tune" in text
    assert "checkpoints (not there)" in text
    assert "no torch" in text
    for name in drawn:
        assert f"plots/{name}" in text
    assert "a fine-tune" in as_text(found)
    page = replaced(f"# Top\n{BEGIN}\nthe section before\n{END}\n# Bottom\n", text)
    assert "the section before" not in page
    assert page.startswith("# Top")
    assert page.endswith("# Bottom\n")
    assert replaced(page, text) == page


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(SystemExit, match="no section"):
        replaced("# Top\n", "text")


def test_figures_have_the_digits_that_count() -> None:
    assert [number(value) for value in (None, 1.5061, 15.48, 1661.7)] == ["-", "1.506", "15.48", "1,662"]
    assert ratio(10, None) is None
    assert ratio(10, 0) is None
    assert ratio(10, 4) == 2.5
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---:|\n| 1 | 2 |"
