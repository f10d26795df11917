"""The peers that the benchmarks measure: each that is installed gives back what it was given."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401 (gives numpy bf16, as safetensors needs it)
import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks import report
from benchmarks.endtoend import Run, compared, in_one_process, in_processes, medians
from benchmarks.growth import windows
from benchmarks.peers import PEERS, Peer, Tools
from benchmarks.peers.cp import Copy
from benchmarks.peers.mvc import Mvc
from benchmarks.related import MOVE, Model, written

ROOT = Path(__file__).resolve().parents[1]
TOOLS = Tools(ROOT / ".peers")


@pytest.fixture(autouse=True)
def no_sync(monkeypatch) -> None:
    """Syncing whole file systems is for figures; here it would only wait for other people's writes."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture(scope="module")
def versions(tmp_path_factory) -> list[Path]:
    return list(written(Model(0.5, rows=64, files=2), tmp_path_factory.mktemp("versions"), 3))


QUICK = ("mvc", "cp + fsync", "b3sum", "git-lfs")
KINDS = [
    pytest.param(kind, id=kind.name, marks=() if kind.name in QUICK else pytest.mark.slow) for kind in PEERS
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_gives_back_every_version(kind: type[Peer], versions, tmp_path) -> None:
    why = kind.missing(TOOLS)
    if why is not None:
        pytest.skip(why)
    assert kind.version(TOOLS)
    peer = kind(tmp_path, TOOLS)
    peer.init()
    for number, version in enumerate(versions):
        peer.put(version)
        assert peer.run(peer.commit(number)).seconds > 0
        peer.run(peer.label(number))
    if not peer.stores:
        return
    assert peer.stored_bytes() > 0
    for number in (0, 2, 1):
        peer.run(peer.checkout(number))
        assert peer.holds(versions[number])
    if peer.has_status:
        peer.run(peer.status())


def test_a_command_that_fails_ends_the_benchmark(tmp_path) -> None:
    peer = Copy(tmp_path, TOOLS)
    peer.init()
    with pytest.raises(SystemExit, match="failed"):
        peer.run([["cp", "nothing", "nowhere"]])


def test_a_version_that_came_back_different_is_noticed(versions, tmp_path) -> None:
    peer = Copy(tmp_path, TOOLS)
    peer.init()
    peer.put(versions[0])
    assert peer.holds(versions[0])
    assert not peer.holds(versions[1])
    (peer.model / "more").touch()
    assert not peer.holds(versions[0])


def test_without_an_environment_the_python_peers_say_why(tmp_path) -> None:
    tools = Tools(tmp_path)
    missing = {kind.name: kind.missing(tools) for kind in PEERS}
    assert missing["hf_xet"] == missing["zipnn"] == "no environment of peers (make peers)"
    assert missing["mvc"] is missing["cp + fsync"] is None


def test_mvc_is_measured_in_processes_and_in_one(versions, tmp_path) -> None:
    wanted = {"commit", "commit cpu", *(f"checkout {name}" for name in ("first", "newest"))}
    for name, way in (("processes", in_processes), ("one", in_one_process)):
        peer = Mvc(tmp_path / name, TOOLS)
        peer.init()
        measured = way(peer, versions)
        assert wanted <= measured.keys()
        assert all(measured[key] > 0 for key in wanted - {"commit cpu"})


def test_a_peer_that_fails_is_a_row_that_says_so(versions, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Copy, "checkout", lambda _self, number: [["false", f"version {number}"]])
    options = argparse.Namespace(peers=tmp_path / "none", repetitions=1, only="cp + fsync,zipnn")
    run = Run(options, tmp_path)
    measured = run.processes(versions)
    assert measured == {}
    assert run.missing["cp + fsync"] == "false version 0 failed (1):"
    rows = run.rows(measured, 1, 1, missing=True)
    assert [row[0] for row in rows] == [f"{name}: {why}" for name, why in run.missing.items()]
    assert list(tmp_path.iterdir()) == []


def test_stages_add_up_to_what_the_process_took(versions, tmp_path) -> None:
    peer = Mvc(tmp_path, TOOLS)
    peer.init()
    peer.put(versions[0])
    session = peer.open_session(cores=1)
    session.ask("stages")
    json.loads(session.ask("told"))
    cost = session.cost("commit 0")
    stages = json.loads(session.ask("told"))
    session.close()
    assert {"read", "hash", "encode", "write"} <= stages.keys()
    assert all(value >= 0 for value in stages.values())
    assert sum(stages.values()) >= cost.cpu_seconds - 0.02  # which is told in hundredths


def test_a_version_moves_by_a_hundredth_of_its_norm(tmp_path) -> None:
    model = Model(2, rows=512)
    paths = model.write(tmp_path / "0")
    model.move()
    paths += model.write(tmp_path / "1")
    old, new = (next(iter(load_file(path).values())).astype(np.float32) for path in paths)
    assert np.linalg.norm(new - old) / np.linalg.norm(old) == pytest.approx(MOVE, rel=0.1)


def test_medians_windows_and_tables() -> None:
    assert medians([{"a": 3.0}, {"a": 1.0}, {"a": 2.0}]) == {"a": 2.0}
    assert windows([1.0, 3.0, 2.0, 9.0], 3) == [(3.0, 2.0)]
    lines = report.table(("what", "much"), [["one", "1.0"], ["another", "22.0"]]).splitlines()
    assert lines == ["| what    | much |", "| ------- | ---: |", "| one     |  1.0 |", "| another | 22.0 |"]
    assert report.figure(None) == "–"
    assert report.figure(1234.5, 1) == "1,234.5"


def test_a_goal_whose_peer_is_missing_is_not_measured() -> None:
    one = {"commit": 2.0, "checkout newest": 1.0, "peak commit": 1e8, "peak checkout": 1e8}
    goals = {what: value for what, value, _ in compared({"mvc": one}, {"mvc": one}, 600_000_000)}
    assert goals["commit in one process, MB/s"] == 300
    assert goals["commit in one process ÷ hf_xet"] is None
    assert goals["300 MB ÷ peak memory"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["endtoend", "depth", "status", "scaling", "growth", "latency", "tensors", "memory"]
)
def test_each_benchmark_runs(name, tmp_path) -> None:
    words = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", tmp_path / "result.json"]
    if name == "endtoend":
        words += ["--only", "mvc,cp + fsync", "--data", tmp_path / "nothing"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["benchmark"] == name
    assert result["machine"]["cores"]
    assert result["measured"]


def test_a_page_goes_between_its_markers_and_nowhere_else(tmp_path, capsys) -> None:
    page = "before\n<!-- depth: made by benchmarks.depth -->\nold\n<!-- end of depth -->\nafter\n"
    (tmp_path / "benchmarks.md").write_text(page)
    options = report.parser("").parse_args(
        ["--docs", str(tmp_path), "--json", str(tmp_path / "x" / "a.json")]
    )
    made = report.Page("depth", options)
    made.say("a table")
    made.chart("depth-commit", "<svg/>")
    made.finish({"seconds": 1})
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.startswith("before\n<!-- depth")
    assert text.endswith("<!-- end of depth -->\nafter\n")
    assert "a table\n\n![depth commit](plots/depth-commit.svg)" in text
    assert "old" not in text
    assert (tmp_path / "plots" / "depth-commit.svg").read_text() == "<svg/>"
    assert json.loads((tmp_path / "x" / "a.json").read_text())["measured"] == {"seconds": 1}
    assert "a table" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no section"):
        report.replaced("nothing", "depth", "text")


def test_every_benchmark_with_a_page_has_its_place_in_the_document() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for name in ("endtoend", "depth", "status", "scaling", "growth"):
        assert "here" in report.replaced(page, name, "here")
