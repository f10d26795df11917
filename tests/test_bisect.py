"""Bisections in a repository: answers, exit codes, metrics, tensors; undo and reset restore exactly."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from history_memory import MemoryReader

from mvc.bisecting.hybrids import differences
from mvc.bisecting.state import PREFIX
from mvc.cli.main import main
from mvc.committing import Request as CommitRequest
from mvc.errors import AnswerIsNo, ConflictError, RevisionNotFound, UsageError, UserError, WouldOverwrite
from mvc.objectid import CommitId
from mvc.objects import TreeEntry
from mvc.ops import bisect, notes
from mvc.ops.bisect_metric import bisect_metric
from mvc.ops.bisect_tensors import Found, bisect_tensors
from mvc.ops.branch import branches
from mvc.ops.gc import Request, gc
from mvc.ops.merge import MergeRequest, merge
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.spans import Span
from tests import engine
from tests.archive_files import npz_bytes, read_npz, read_torch, torch_bytes
from tests.engine import ME, now, snapshot, tree
from tests.make_files import finetuned, npy_bytes, random_weights, safetensors_bytes

MOST_BYTES = 1024
"""What a version that mixes two others may add to packs."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def versions(work: Path, count: int, **metrics: Callable[[int], float | None]) -> Repository:
    """Version n has the file ``v`` with n in it, and other files that come and go."""
    repository = engine.make_repository(work)
    for number in range(count):
        (work / "v").write_text(str(number))
        (work / f"only-{number}").write_text("x")
        (work / f"only-{number - 1}").unlink(missing_ok=True)
        known = {name: value(number) for name, value in metrics.items()}
        kept = {name: value for name, value in known.items() if value is not None}
        snapshot(repository, f"v{number}", metrics=kept)
    return repository


def state(repository: Repository) -> object:
    """Everything that a user could see: refs, HEAD, files."""
    with repository.reading() as view:
        return view.head, dict(view.refs.values()), tree(repository.worktree)


def number_of(repository: Repository) -> int:
    return int((repository.worktree / "v").read_text())


def answer(repository: Repository, *revisions: str, word: str) -> bisect.Report:
    return bisect.mark(repository, word, revisions, ME, now())


def test_answers_lead_to_the_first_bad_version_and_reset_goes_back(work: Path):
    repository = versions(work, 20)
    before = state(repository)
    report = bisect.start(repository, "HEAD", ["HEAD~19"], ME, now())
    assert status(repository).bisecting_from == "refs/heads/main"
    tests = 0
    while report.step is not None and report.step.kind == "test":
        with repository.reading() as view:
            assert view.head == report.step.commit
            assert view.commit(report.step.commit).subject == f"v{number_of(repository)}"
        report = answer(repository, word="bad" if number_of(repository) >= 13 else "good")
        tests += 1
    assert report.step is not None and report.step.kind == "found"
    with repository.reading() as view:
        assert view.commit(report.step.commit).subject == "v13"
        assert view.branch() is None
    assert tests <= 5
    assert bisect.reset(repository, None, ME, now()) == "refs/heads/main"
    assert state(repository) == before
    assert status(repository).bisecting_from is None
    assert bisect.reset(repository, None, ME, now()) is None


def test_undo_takes_each_answer_back_exactly(work: Path):
    repository = versions(work, 12)
    seen = [state(repository)]
    bisect.start(repository, "HEAD", ["HEAD~11"], ME, now())
    seen.append(state(repository))
    for word in ("good", "skip", "bad"):
        answer(repository, word=word)
        seen.append(state(repository))
    bisect.reset(repository, None, ME, now())
    seen.append(state(repository))
    assert len({repr(one) for one in seen[:-1]}) == len(seen) - 1
    for expected in reversed(seen[:-1]):
        undo(repository, ME, now())
        assert state(repository) == expected
    engine.assert_sound(work)


def test_answers_before_both_ends_are_known_move_nothing(work: Path):
    repository = versions(work, 5)
    report = bisect.start(repository, None, [], ME, now())
    assert report.step is None and report.bisection.missing == ("bad", "good")
    assert answer(repository, word="bad").bisection.missing == ("good",)
    assert number_of(repository) == 4
    assert answer(repository, "HEAD~4", word="good").step is not None
    assert number_of(repository) == 2


def test_a_second_start_forgets_the_answers_and_keeps_the_way_back(work: Path):
    repository = versions(work, 9)
    bisect.start(repository, "main", ["main~8"], ME, now())
    assert number_of(repository) != 8
    report = bisect.start(repository, None, [], ME, now())
    assert report.bisection.missing == ("bad", "good")
    assert number_of(repository) == 8
    assert status(repository).branch == "main"
    bisect.reset(repository, None, ME, now())
    assert status(repository).branch == "main"


def test_a_range_can_be_skipped_and_what_is_left_is_listed(work: Path):
    repository = versions(work, 8)
    bisect.start(repository, "main", ["main~7"], ME, now())
    report = answer(repository, "main~7..main~1", word="skip")
    assert report.step is not None and report.step.kind == "skipped"
    with repository.reading() as view:
        subjects = [view.commit(one).subject for one in report.step.candidates]
    assert subjects == [f"v{number}" for number in range(1, 8)]


def test_reset_to_another_place(work: Path):
    repository = versions(work, 4)
    bisect.start(repository, "main", ["main~3"], ME, now())
    place = bisect.reset(repository, "main~2", ME, now())
    with repository.reading() as view:
        assert view.head == place
        assert not list(view.refs.names(PREFIX))
    assert number_of(repository) == 1


def test_contradictions_change_nothing(work: Path):
    repository = versions(work, 4)
    bisect.start(repository, "main", ["main~3"], ME, now())
    before = state(repository)
    with pytest.raises(UserError, match="both good and bad"):
        answer(repository, "main", word="good")
    with pytest.raises(UsageError):
        answer(repository, "main", "main~1", word="bad")
    with pytest.raises(RevisionNotFound):
        answer(repository, "nothing", word="good")
    assert state(repository) == before


def test_uncommitted_work_is_not_lost(work: Path):
    repository = versions(work, 6)
    (work / "v").write_text("mine")
    before = state(repository)
    with pytest.raises(WouldOverwrite):
        bisect.start(repository, "main", ["main~5"], ME, now())
    assert state(repository) == before


def test_a_merge_under_way_comes_first(work: Path):
    repository = versions(work, 4)
    engine.switch_to(repository, "main~1", new_branch="other")
    (work / "v").write_text("other")
    (work / "only-2").unlink()
    snapshot(repository)
    engine.switch_to(repository, "main")
    merged = merge(repository, MergeRequest("other", CommitRequest(None, ME, now())))
    assert merged.conflicts
    before = state(repository)
    with pytest.raises(ConflictError, match="under way"):
        bisect.start(repository, "main", ["main~3"], ME, now())
    assert state(repository) == before


def test_it_does_not_show_as_branches_and_survives_what_gc_throws_away(work: Path):
    repository = versions(work, 6)
    bisect.start(repository, "main", ["main~5"], ME, now())
    with repository.reading() as view:
        assert [one.name for one in branches(view)] == ["main"]
    gc(repository, Request(now(), 0))
    engine.assert_sound(work)
    bisect.reset(repository, None, ME, now())
    assert status(repository).branch == "main"


# --- run ---------------------------------------------------------------------------------------------------
def run_with(repository: Repository, code: Callable[[int], int]) -> tuple[bisect.Report, list[str]]:
    heard: list[str] = []

    def test(commit: CommitId) -> int:
        with repository.reading() as view:
            assert view.head == commit
        return code(number_of(repository))

    report = bisect.run(repository, test, lambda *what: heard.append(what[2]), ME, now)
    return report, heard


@pytest.mark.parametrize("bad_code", [1, 2, 124, 126, 127])
def test_codes_below_128_are_bad(work: Path, bad_code: int):
    repository = versions(work, 10)
    bisect.start(repository, "main", ["main~9"], ME, now())
    report, _ = run_with(repository, lambda number: bad_code if number >= 4 else 0)
    assert report.step is not None and report.step.kind == "found"
    with repository.reading() as view:
        assert view.commit(report.step.commit).subject == "v4"


@pytest.mark.parametrize("code", [128, 255, -9, -15])
def test_other_codes_stop_and_keep_what_is_known(work: Path, code: int):
    repository = versions(work, 10)
    bisect.start(repository, "main", ["main~9"], ME, now())
    before = state(repository)
    with pytest.raises(UserError, match="neither good nor bad"):
        run_with(repository, lambda _number: code)
    assert state(repository) == before
    report, heard = run_with(repository, lambda number: number >= 7)
    assert report.step is not None and report.step.kind == "found"
    assert set(heard) == {"good", "bad"}


def test_code_125_skips(work: Path):
    repository = versions(work, 10)
    bisect.start(repository, "main", ["main~9"], ME, now())
    report, heard = run_with(repository, lambda number: 125 if number in (4, 5) else int(number >= 7))
    assert report.step is not None and report.step.kind == "found"
    with repository.reading() as view:
        assert view.commit(report.step.commit).subject == "v7"
    report = bisect.start(repository, "main", ["main~9"], ME, now())
    report, heard = run_with(repository, lambda number: 125 if number in (4, 5) else int(number >= 5))
    assert report.step is not None and report.step.kind == "skipped"
    assert "skip" in heard


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_no_shell_finds_is_told_from_a_bad_version(work: Path, code: int):
    repository = versions(work, 10)
    bisect.start(repository, "main", ["main~9"], ME, now())
    before = state(repository)
    with pytest.raises(UserError, match="cannot be run"):
        run_with(repository, lambda _number: code)
    assert state(repository) == before


def test_run_needs_both_ends(work: Path):
    repository = versions(work, 3)
    with pytest.raises(UserError, match="no bisection"):
        run_with(repository, lambda _number: 0)
    bisect.start(repository, "main", [], ME, now())
    with pytest.raises(UserError, match="no good version"):
        run_with(repository, lambda _number: 0)


# --- a metric ----------------------------------------------------------------------------------------------
def test_the_first_version_beyond_the_middle_is_found(work: Path):
    repository = versions(work, 30, loss=lambda number: 2.0 - number / 100 + 3 * (number >= 21))
    before = state(repository)
    with repository.reading() as view:
        found = bisect_metric(view, "loss", "main~29", "main")
        assert view.commit(found.step.commit).subject == "v21"
        assert found.side.above and 2 < found.side.threshold < 5
        assert len(found.path) <= 7
        for one in found.path:
            assert one.value == view.commit(one.commit).metrics["loss"]
            assert (one.word == "bad") == found.side.is_bad(one.value or 0)
    assert state(repository) == before


def test_versions_without_the_metric_are_skipped(work: Path):
    repository = versions(work, 12, acc=lambda number: None if number in (5, 6) else float(number < 8))
    with repository.reading() as view:
        found = bisect_metric(view, "acc", "main~11", "main")
        assert view.commit(found.step.commit).subject == "v8"
        assert not found.side.above
        assert any(one.word == "skip" and one.value is None for one in found.path)


def test_thresholds_and_what_is_no_number(work: Path):
    repository = versions(work, 9, loss=lambda number: float("nan") if number >= 6 else float(number))
    with repository.reading() as view:
        found = bisect_metric(view, "loss", "main~8", "main", above=100)
        assert view.commit(found.step.commit).subject == "v6"
        found = bisect_metric(view, "loss", "main~8", "main", above=2.5)
        assert view.commit(found.step.commit).subject == "v3"
        with pytest.raises(UserError, match="no middle"):
            bisect_metric(view, "loss", "main~8", "main")
        with pytest.raises(UserError, match="which is not good"):
            bisect_metric(view, "loss", "main~8", "main", below=50)
        with pytest.raises(UsageError):
            bisect_metric(view, "loss", "main~8", "main", below=1, above=2)
        with pytest.raises(RevisionNotFound, match="no metric 'los'") as caught:
            bisect_metric(view, "los", "main~8", "main")
        assert "'loss'" in caught.value.hint


# --- tensors -----------------------------------------------------------------------------------------------
def model(
    work: Path, tensors: int, seed: int = 7
) -> tuple[Repository, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two versions of one file in which every tensor differs, and the raw values of both."""
    rng = np.random.default_rng(seed)
    shapes = {f"layers.{number:03}.weight": (48, 16) for number in range(tensors)}
    good = random_weights(rng, shapes, "BF16")
    bad = finetuned(good, rng, 0.02)
    repository = engine.make_repository(work)
    (work / "config.json").write_text("{}")
    for weights in (good, bad):
        (work / "model.safetensors").write_bytes(safetensors_bytes(weights))
        snapshot(repository)
    return repository, good, bad


def taken_from(work: Path, name: str) -> dict[str, bytes]:
    """Tensors of a safetensors file by the format's own rules."""
    data = (work / name).read_bytes()
    length = int.from_bytes(data[:8], "little")
    rows = json.loads(data[8 : 8 + length])
    rows.pop("__metadata__", None)
    body = data[8 + length :]
    return {name: body[slice(*row["data_offsets"])] for name, row in rows.items()}


def search(repository: Repository, is_bad: Callable[[dict[str, bytes]], int], **options) -> Found:
    folder = options.get("folder", repository.worktree)
    return bisect_tensors(
        repository,
        "main~1",
        "main",
        lambda _commit: int(is_bad(taken_from(folder, "model.safetensors"))),
        lambda *_: None,
        ME,
        now,
        **options,
    )


@pytest.mark.parametrize("together", [False, True])
def test_three_planted_tensors_of_three_hundred_are_found(work: Path, together: bool):
    repository, _, _ = model(work, 300)
    with repository.reading() as view:
        assert view.branch() == "main"
    good = None
    before = state(repository)
    planted = random.Random(11).sample([f"layers.{number:03}.weight" for number in range(300)], 3)
    engine.switch_to(repository, "main~1")
    good = taken_from(work, "model.safetensors")
    engine.switch_to(repository, "main")

    def is_bad(tensors: dict[str, bytes]) -> int:
        return (all if together else any)(tensors[name] != good[name] for name in planted)

    found = search(repository, is_bad)
    names = {tuple(name for one in found_set.tensors for name in one.names) for found_set in found.sets}
    assert names == ({tuple(sorted(planted))} if together else {(name,) for name in planted})
    assert found.rest == "good" and found.differing == 300
    assert len(found.tried) <= 40
    assert max(tried.stored_bytes for tried in found.tried) <= MOST_BYTES
    assert state(repository) == before
    for found_set in found.sets:
        engine.switch_to(repository, found_set.commit.hex())
        tensors = taken_from(work, "model.safetensors")
        exchanged = {name for one in found_set.tensors for name in one.names}
        assert {name for name in tensors if tensors[name] != good[name]} == exchanged
    engine.switch_to(repository, "main")
    engine.assert_sound(work)


def test_a_folder_of_its_own_leaves_the_work_tree_alone(work: Path, tmp_path: Path):
    repository, _, _ = model(work, 12)
    (work / "model.safetensors").write_bytes(b"uncommitted")
    before = state(repository)
    folder = tmp_path / "scratch"
    seen: list[set[str]] = []

    def is_bad(tensors: dict[str, bytes]) -> int:
        assert state(repository)[2] == before[2]
        seen.append({path.name for path in folder.iterdir()})
        return 1 if len(seen) > 1 and tensors["layers.005.weight"] != first["layers.005.weight"] else 0

    first: dict[str, bytes] = {}

    def watching(tensors: dict[str, bytes]) -> int:
        if not first:
            first.update(tensors)
        return is_bad(tensors)

    found = search(repository, watching, folder=folder)
    assert [one.names for found_set in found.sets for one in found_set.tensors] == [("layers.005.weight",)]
    assert all(names == {"model.safetensors", "config.json"} for names in seen)
    assert state(repository) == before
    with pytest.raises(UserError, match="is not empty"):
        search(repository, watching, folder=folder)
    assert state(repository) == before


def test_whatever_ends_the_search_the_work_tree_comes_back(work: Path):
    repository, _, _ = model(work, 8)
    before = state(repository)
    asked = 0

    def interrupted(_tensors: dict[str, bytes]) -> int:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise KeyboardInterrupt
        return asked - 1

    with pytest.raises(KeyboardInterrupt):
        search(repository, interrupted)
    assert state(repository) == before
    with pytest.raises(UserError, match="neither good nor bad"):
        search(repository, lambda _tensors: 200)
    assert state(repository) == before
    with pytest.raises(UserError, match="should be good"):
        search(repository, lambda _tensors: 1)
    assert state(repository) == before
    with pytest.raises(AnswerIsNo, match="do not make"):
        search(repository, lambda _tensors: 0)
    assert state(repository) == before


@pytest.mark.parametrize("apart", [False, True])
def test_each_step_of_a_search_can_be_undone(work: Path, tmp_path: Path, apart: bool):
    repository, _, _ = model(work, 4)
    before = state(repository)
    seen: list[object] = []

    def watching(_tensors: dict[str, bytes]) -> int:
        seen.append(state(repository))
        return 0 if len(seen) in (1, 3) else 1

    search(repository, watching, **({"folder": tmp_path / "scratch"} if apart else {}))
    assert state(repository) == before
    # the first test is that of the good version, for which nothing is made
    for expected in [*reversed(seen), before]:
        undo(repository, ME, now())
        assert state(repository) == expected
    engine.assert_sound(work)


def test_a_search_that_was_killed_is_ended_by_reset(work: Path, monkeypatch: pytest.MonkeyPatch):
    repository, _, _ = model(work, 8)
    before = state(repository)
    monkeypatch.setattr("mvc.ops.bisect_tensors._Search.leave", lambda _self: None)  # as SIGKILL would
    with pytest.raises(UserError):
        search(repository, lambda _tensors: 200)
    assert status(repository).bisecting_from == "refs/heads/main"
    with pytest.raises(UserError, match="tensors was interrupted"):
        answer(repository, word="good")
    with pytest.raises(UserError, match="under way"):
        search(repository, lambda _tensors: 0)
    bisect.reset(repository, None, ME, now())
    assert state(repository) == before


def test_shards_other_files_and_equal_tensors(work: Path):
    rng = np.random.default_rng(3)
    repository = engine.make_repository(work)
    shards = {
        name: random_weights(rng, {f"{name}.{number}": (30, 8) for number in range(6)}, "F32")
        for name in ("one", "two", "three")
    }
    changed = {name: dict(weights) for name, weights in shards.items()}
    for name in ("one", "two"):
        moved = finetuned(changed[name], rng, 0.1)
        changed[name] |= {key: moved[key] for key in list(moved)[:4]}
    for weights, text in ((shards, "a"), (changed, "b")):
        for name, tensors in weights.items():
            (work / f"{name}.safetensors").write_bytes(safetensors_bytes(tensors))
        (work / "notes.txt").write_text(text)
        snapshot(repository)
    engine.switch_to(repository, "main~1")
    good = {name: taken_from(work, f"{name}.safetensors") for name in shards}
    engine.switch_to(repository, "main")

    def test(_commit: CommitId) -> int:
        assert (work / "notes.txt").read_text() == "a"
        now_there = {name: taken_from(work, f"{name}.safetensors") for name in shards}
        return int(
            now_there["one"]["one.1"] != good["one"]["one.1"]
            and now_there["two"]["two.3"] != good["two"]["two.3"]
        )

    found = bisect_tensors(repository, "main~1", "main", test, lambda *_: None, ME, now)
    assert found.differing == 8
    assert found.apart == ("notes.txt",)
    (only,) = found.sets
    assert [(one.path, one.names) for one in only.tensors] == [
        ("one.safetensors", ("one.1",)),
        ("two.safetensors", ("two.3",)),
    ]
    with pytest.raises(AnswerIsNo, match="do not make"):
        bisect_tensors(
            repository, "main~1", "main", test, lambda *_: None, ME, now, paths=("one.safetensors",)
        )


def test_files_that_are_one_tensor(work: Path):
    repository = engine.make_repository(work)
    for value in (1, 2):
        for name in "abc":
            (work / f"{name}.npy").write_bytes(npy_bytes(np.full(500, value, "<f4")))
        snapshot(repository)

    def test(_commit: CommitId) -> int:
        return int(np.load(work / "b.npy")[0] == 2)

    found = bisect_tensors(repository, "main~1", "main", test, lambda *_: None, ME, now)
    assert [one.path for found_set in found.sets for one in found_set.tensors] == ["b.npy"]


@pytest.mark.parametrize(
    ("name", "write", "read"), [("m.npz", npz_bytes, read_npz), ("m.pt", torch_bytes, read_torch)]
)
def test_archives_keep_checksums_that_fit(work: Path, name: str, write, read):
    rng = np.random.default_rng(2)
    repository = engine.make_repository(work)
    good = {f"w{number:03}": rng.standard_normal(400).astype("<f4") for number in range(80)}
    bad = {key: array + np.float32(0.01) for key, array in good.items()}
    for arrays in (good, bad):
        (work / name).write_bytes(write(arrays))
        snapshot(repository)
    before = state(repository)
    planted = random.Random(5).sample(list(good), 3)

    def test(_commit: CommitId) -> int:
        found = read((work / name).read_bytes())
        assert all((found[key] == good[key]).all() or (found[key] == bad[key]).all() for key in good)
        return int(all((found[key] == bad[key]).all() for key in planted))

    found = bisect_tensors(repository, "main~1", "main", test, lambda *_: None, ME, now)
    assert {one.names[0] for found_set in found.sets for one in found_set.tensors} == set(planted)
    assert len(found.tried) <= 40
    assert state(repository) == before
    assert max(tried.stored_bytes for tried in found.tried) <= MOST_BYTES


def test_tensors_that_share_bytes_are_exchanged_together(work: Path):
    torch = pytest.importorskip("torch")
    repository = engine.make_repository(work)
    for value in (1.0, 2.0):
        tied = torch.full((40, 30), value)
        torch.save({"embed": tied, "head": tied, "part": tied[3:5], "own": tied.clone()}, work / "m.pt")
        snapshot(repository)

    def test(_commit: CommitId) -> int:
        loaded = torch.load(work / "m.pt", weights_only=True)
        assert (loaded["embed"] == loaded["head"]).all()
        return int(loaded["part"][0, 0] == 2)

    found = bisect_tensors(repository, "main~1", "main", test, lambda *_: None, ME, now)
    assert found.differing == 2
    (only,) = found.sets
    assert [set(one.names) for one in only.tensors] == [{"embed", "head", "part"}]


def test_a_metric_that_was_noted_later_counts(work: Path):
    repository = versions(work, 6)
    for number in range(6):
        notes.add(
            repository, f"main~{5 - number}", notes.Wording({"acc": 0.9 - 0.5 * (number > 3)}, {}), ME, now()
        )
    with repository.reading() as view:
        found = bisect_metric(view, "acc", "main~5", "main")
        assert view.commit(found.step.commit).subject == "v4"


def test_a_format_without_room_is_refused_by_name():
    reader = MemoryReader()
    span = Span(0, 4, "w", "F32", (1,))
    files = [
        {
            "model.index": TreeEntry(
                "model.index", 0, reader.file(text, format="tf-checkpoint", tensors=(span,))
            )
        }
        for text in ("good", "bad!")
    ]
    with pytest.raises(UserError, match=r"model\.index.*tf-checkpoint") as caught:
        differences(reader, *files, lambda _path: True)
    assert "safetensors" in caught.value.hint
    assert differences(reader, *files, lambda path: path != "model.index").apart == ("model.index",)


def test_nothing_to_exchange(work: Path):
    repository = versions(work, 2)
    before = state(repository)
    with pytest.raises(AnswerIsNo, match="no tensor"):
        bisect_tensors(repository, "main~1", "main", lambda _commit: 0, lambda *_: None, ME, now)
    assert state(repository) == before


def test_no_search_for_tensors_begins_beside_a_merge(work: Path, tmp_path: Path, mvc):
    """It could not end: HEAD stays while a merge is under way."""
    repository, _, _ = model(work, 12)
    for words in ("switch -c side", "switch main"):
        assert mvc(*words.split())[0] == 0
        (work / "words").write_text(words)
        assert mvc("commit", "-m", words)[0] == 0
    assert mvc("merge", "side")[0] == 4
    before = state(repository)
    code, _, err = mvc("bisect", "tensors", "main~2", "main~1", "--dir", str(tmp_path / "out"), "--", "false")
    assert code == 4 and "a merge is under way" in err
    assert state(repository) == before and not (tmp_path / "out").exists()


# --- the command line --------------------------------------------------------------------------------------
@pytest.fixture
def mvc(work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MVC_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("HOME", str(work.parent))
    monkeypatch.chdir(work)

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(list(words))
        return (code, *capfd.readouterr())

    return command


def test_run_gives_the_program_its_own_words_and_the_version(work: Path, mvc):
    versions(work, 8)
    script = (
        "import os, sys; print('out', sys.argv[1:], len(os.environ['MVC_BISECT_REV']));"
        "sys.exit(int(open('v').read()) >= 3)"
    )
    code, out, _ = mvc("bisect", "start", "main", "main~7")
    assert code == 0 and "versions left to test" in out
    code, out, err = mvc("bisect", "run", sys.executable, "-c", script, "--json", "-x", "--", "y")
    assert code == 0, err
    assert "out ['--json', '-x', '--', 'y'] 64" in out
    assert "is the first bad version" in out and "    v3" in out
    code, out, _ = mvc("bisect", "log")
    assert out.splitlines()[:2] == ["# started from main", "mvc bisect start"]
    assert code == 0 and mvc("bisect", "reset")[0] == 0
    mvc("bisect", "start", "main", "main~7", "-q")
    code, out, err = mvc("bisect", "run", "--json", "--", sys.executable, "-c", script)
    assert code == 0
    assert json.loads(out)["state"] == "found"
    assert "out [] 64" in err


def test_a_program_gets_the_environment_that_mvc_was_started_with(work: Path, mvc):
    versions(work, 3)
    mvc("bisect", "start", "main", "main~2")
    script = "import os, sys; print('threads', os.environ.get('OPENBLAS_NUM_THREADS'), file=sys.stderr)"
    words = [sys.executable, "-m", "mvc", "bisect", "run", sys.executable, "-c", script]
    top = Path(__file__).parent.parent
    for given, told in ((None, "threads None"), ("1", "threads 1"), ("3", "threads 3")):
        environment = {name: os.environ[name] for name in os.environ if not name.endswith("_NUM_THREADS")}
        environment |= {"PYTHONPATH": str(top)} | ({"OPENBLAS_NUM_THREADS": given} if given else {})
        done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=True)
        assert told in done.stderr
        assert mvc("undo")[0] == 0


def test_json_of_each_answer(work: Path, mvc):
    versions(work, 8)
    data = json.loads(mvc("bisect", "start", "--json")[1])
    assert data["state"] == "waiting" and data["commit"] is None
    mvc("bisect", "bad")
    data = json.loads(mvc("bisect", "good", "main~7", "--json")[1])
    assert data["state"] == "test" and data["left"] == 3 and data["steps"] == 2
    data = json.loads(mvc("bisect", "log", "--json")[1])
    assert [one["answer"] for one in data["answers"]] == ["bad", "good"]
    assert json.loads(mvc("status", "--json")[1])["bisecting_from"] == "refs/heads/main"
    assert json.loads(mvc("bisect", "reset", "--json")[1]) == {"head": "refs/heads/main"}
    assert json.loads(mvc("status", "--json")[1])["bisecting_from"] is None


def test_only_skipped_versions_left_is_a_no(work: Path, mvc):
    versions(work, 4)
    mvc("bisect", "start", "main", "main~3")
    code, out, _ = mvc("bisect", "run", sys.executable, "-c", "raise SystemExit(125)")
    assert code == 1 and "only skipped versions are left" in out
    assert len(out.splitlines()[-3:]) == 3


def test_tensors_by_a_program(work: Path, mvc):
    model(work, 10)
    script = (
        "import hashlib, os; data = open('model.safetensors', 'rb').read();"
        "n = 8 + int.from_bytes(data[:8], 'little'); part = data[n + 6*1536 : n + 7*1536];"
        "known = os.path.exists('../known'); open('../known', 'ab').write(b'' if known else part);"
        "raise SystemExit(part != open('../known', 'rb').read())"
    )
    code, out, err = mvc("bisect", "tensors", "main~1", "main", "--json", "--", sys.executable, "-c", script)
    assert code == 0, err
    data = json.loads(out)
    assert [one["names"] for one in data["sets"][0]["tensors"]] == [["layers.006.weight"]]
    assert data["rest"] == "good" and data["differing"] == 10
    code, out, _ = mvc("bisect", "tensors", "main~1", "main", "--", sys.executable, "-c", script)
    assert code == 0 and "model.safetensors#layers.006.weight" in out
    assert "without them it is good" in out


def test_metric_on_the_command_line(work: Path, mvc):
    versions(work, 10, loss=lambda number: 1.0 if number < 6 else 5.0)
    code, out, _ = mvc("bisect", "metric", "loss", "--good", "main~9", "--bad", "main")
    assert code == 0 and "loss above 3 is bad" in out and "    v6" in out
    data = json.loads(
        mvc("bisect", "metric", "loss", "--good", "main~9", "--bad", "main", "--above", "4", "--json")[1]
    )
    assert data["threshold"] == 4 and data["state"] == "found"
    assert mvc("bisect", "metric", "loss", "--good", "main~9", "--bad", "main", "--above", "x")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("bisect",),
        ("bisect", "nothing"),
        ("bisect", "run"),
        ("bisect", "metric", "loss"),
        ("bisect", "tensors", "main"),
        ("bisect", "tensors", "main", "main"),
        ("bisect", "start", "--good", "main"),
        ("bisect", "good", "--", "path"),
        ("bisect", "log", "main"),
        ("bisect", "reset", "main", "main"),
    ],
)
def test_command_lines_that_make_no_sense(work: Path, mvc, words: tuple[str, ...]):
    versions(work, 2)
    code, out, err = mvc(*words)
    assert code == 2 and out == ""
    assert (err.startswith("error: ") and "hint: " in err) or "log" in words
