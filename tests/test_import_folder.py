"""Folders of checkpoints as versions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from engine import assert_sound, make_repository, snapshot, tree, weights_versions
from import_sources import contents, files_of, line, opened, take, tip

from mvc.errors import UserError
from mvc.importing import storing
from mvc.objects import Timestamp

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "weights"


def write(folder: Path, files: dict[str, bytes], seconds: int = 1_700_000_000) -> None:
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        os.utime(place, (seconds, seconds))


def run(folder: Path, steps: tuple[int, ...] = (500, 1000, 1500)) -> list[bytes]:
    models = weights_versions(len(steps))
    for number, (step, data) in enumerate(zip(steps, models, strict=True)):
        state = {
            "global_step": step,
            "epoch": number + 1.0,
            "log_history": [{"loss": 3.0 - number, "step": step}],
        }
        write(
            folder / f"checkpoint-{step}",
            {"model.safetensors": data, "trainer_state.json": json.dumps(state).encode()},
            1_700_000_000 + step,
        )
    return models


def test_each_folder_is_a_version_with_its_date_and_metrics(tmp_path) -> None:
    models = run(tmp_path / "run")
    before = contents(tmp_path / "run")
    done = take(tmp_path / "run", tmp_path / "repo")
    assert (done.kind, done.new) == ("folder", 3)
    versions = line(tmp_path / "repo")
    assert [one.message for one in versions] == ["checkpoint-500", "checkpoint-1000", "checkpoint-1500"]
    assert versions[0].time == Timestamp(1_700_000_500 * 1_000_000, 0)
    assert [one.metrics for one in versions] == [
        {"step": step, "epoch": number + 1.0, "loss": 3.0 - number}
        for number, step in enumerate((500, 1000, 1500))
    ]
    assert [files_of(tmp_path / "repo", one)["model.safetensors"] for one in versions] == models
    assert tree(tmp_path / "repo")["model.safetensors"] == (models[-1], False)
    assert contents(tmp_path / "run") == before
    assert_sound(tmp_path / "repo")


def test_again_takes_new_and_changed_ones(tmp_path) -> None:
    run(tmp_path / "run")
    take(tmp_path / "run", tmp_path / "repo")
    assert take(tmp_path / "run", tmp_path / "repo").new == 0
    os.utime(tmp_path / "run" / "checkpoint-500" / "model.safetensors", (1, 1))
    done = take(tmp_path / "run", tmp_path / "repo")
    assert (done.new, done.unchanged) == (0, 1), "only a date is another one"
    write(tmp_path / "run" / "checkpoint-500", {"model.safetensors": b"new bytes"})
    write(tmp_path / "run" / "checkpoint-2000", {"model.safetensors": b"more"})
    assert take(tmp_path / "run", tmp_path / "repo").new == 2
    assert [one.message for one in line(tmp_path / "repo")][3:] == ["checkpoint-500", "checkpoint-2000"]


def test_an_interrupted_import_goes_on_where_it_was(tmp_path, monkeypatch) -> None:
    run(tmp_path / "run")
    monkeypatch.setattr(storing, "BATCH_VERSIONS", 1)
    whole = storing._Batch._store

    def interrupted(self, version) -> None:
        if version.name == "checkpoint-1500":
            raise KeyboardInterrupt
        whole(self, version)

    monkeypatch.setattr(storing._Batch, "_store", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take(tmp_path / "run", tmp_path / "repo")
    assert tip(tmp_path / "repo") is None
    monkeypatch.setattr(storing._Batch, "_store", whole)
    assert take(tmp_path / "run", tmp_path / "repo").new == 1
    assert len(line(tmp_path / "repo")) == 3
    assert tip(tmp_path / "repo", "refs/worktree/import/main") is None


def test_versions_go_on_top_of_the_current_branch_or_of_another(tmp_path) -> None:
    run(tmp_path / "run")
    repository = make_repository(tmp_path / "repo")
    (tmp_path / "repo" / "mine").write_text("mine")
    mine = snapshot(repository).id
    take(tmp_path / "run", tmp_path / "repo", branch="run")
    assert tip(tmp_path / "repo") == mine
    assert (tmp_path / "repo" / "mine").exists()
    assert len(line(tmp_path / "repo", "refs/heads/run")) == 3
    take(tmp_path / "run", tmp_path / "repo")
    assert len(line(tmp_path / "repo")) == 4
    assert not (tmp_path / "repo" / "mine").exists() and (tmp_path / "repo" / "model.safetensors").exists()


def test_files_whose_names_differ_in_numbers_are_versions_of_one_file(tmp_path) -> None:
    models = weights_versions(4)
    names = ["step-0060.safetensors", "step-0120.safetensors", "step-1000.safetensors", "final.safetensors"]
    for name, data in zip(names, models, strict=True):
        write(tmp_path / "run", {name: data})
    write(tmp_path / "run", {"config.json": b"{}"})
    take(tmp_path / "run", tmp_path / "repo")
    versions = line(tmp_path / "repo")
    assert [one.message for one in versions] == ["step-0060", "step-0120", "step-1000", "final"]
    assert [files_of(tmp_path / "repo", one) for one in versions] == [
        {"step.safetensors": data, "config.json": b"{}"} for data in models
    ]


def test_weights_beside_checkpoints_are_the_last_one_and_other_things_are_told(tmp_path) -> None:
    models = run(tmp_path / "run")
    write(tmp_path / "run", {"model.safetensors": b"final weights", "logs/events": b"log"})
    (tmp_path / "run" / "latest").symlink_to("checkpoint-1500")
    done = take(tmp_path / "run", tmp_path / "repo")
    versions = line(tmp_path / "repo")
    assert versions[-1].message == "run" and len(versions) == len(models) + 1
    assert files_of(tmp_path / "repo", versions[-1]) == {"model.safetensors": b"final weights"}
    assert any("'logs'" in note for note in done.notes) and any("'latest'" in note for note in done.notes)


def test_folders_without_numbers_come_in_the_order_of_their_dates(tmp_path) -> None:
    write(tmp_path / "run", {"b/model.bin": b"first"}, 1_000_000_000)
    write(tmp_path / "run", {"a/model.bin": b"second"}, 1_000_000_001)
    take(tmp_path / "run", tmp_path / "repo")
    assert [one.message for one in line(tmp_path / "repo")] == ["b", "a"]


def test_dates_from_names(tmp_path) -> None:
    write(tmp_path / "run", {"v01_2024-07-09_vad.onnx": b"1", "v02_2025-08-25_vad.onnx": b"2"})
    take(tmp_path / "run", tmp_path / "repo", dates_from_names=True)
    assert [one.time.microseconds for one in line(tmp_path / "repo")] == [
        1720483200 * 1_000_000,
        1756080000 * 1_000_000,
    ]
    write(tmp_path / "run", {"v03_vad.onnx": b"3", "v04_vad.onnx": b"4"})
    with pytest.raises(UserError, match="has no date in it"):
        take(tmp_path / "run", tmp_path / "other", dates_from_names=True)


def test_names_that_no_version_may_hold_are_left_out_by_name(tmp_path) -> None:
    write(tmp_path / "run", {"checkpoint-1/nul": b"1", "checkpoint-1/fine": b"2"})
    (tmp_path / "run" / "checkpoint-1" / "out").symlink_to("/etc/passwd")
    done = take(tmp_path / "run", tmp_path / "repo")
    assert dict(done.survey.left_out).keys() == {"nul", "out"}
    assert tree(tmp_path / "repo") == {"fine": (b"2", False)}


def test_a_folder_without_checkpoints(tmp_path) -> None:
    write(tmp_path / "run", {"README": b"nothing"})
    with pytest.raises(UserError, match="has no checkpoints"):
        take(tmp_path / "run", tmp_path / "repo")
    with pytest.raises(UserError, match="is no folder"):
        take(tmp_path / "nowhere", tmp_path / "repo")
    with pytest.raises(UserError, match="is no Git repository"):
        take(tmp_path / "run", tmp_path / "repo", kind="git-lfs")


def test_a_dry_run_writes_nothing(tmp_path) -> None:
    run(tmp_path / "run")
    done = take(tmp_path / "run", tmp_path / "repo", dry_run=True)
    assert (done.survey.versions, done.survey.files, done.new) == (3, 6, 0)
    assert done.survey.size == sum(path.stat().st_size for path in (tmp_path / "run").rglob("*.*"))
    assert not (tmp_path / "repo").exists()


def test_two_imports_at_once_are_refused(tmp_path) -> None:
    from mvc.errors import Busy

    run(tmp_path / "run")
    repository = make_repository(tmp_path / "repo")
    held = repository.locks.take("import", exclusive=True, wait=False)
    assert held is not None
    with pytest.raises(Busy, match="another import is running"):
        take(tmp_path / "run", tmp_path / "repo", repository=opened(tmp_path / "repo"))
    held.release()


HISTORIES = (
    sorted({path.parent for path in REAL.glob("hist_*/**/v*") if path.is_file()}) if REAL.is_dir() else []
)


@pytest.mark.skipif(not HISTORIES, reason="real histories (../shared/data) are not on this machine")
def test_real_histories_come_back_byte_for_byte(tmp_path) -> None:
    """Each lies as files v01_DATE_NAME, v02_… of one name in a folder."""
    assert len({path.relative_to(REAL).parts[0] for path in HISTORIES}) == 11
    for number, folder in enumerate(HISTORIES):
        target = tmp_path / str(number)
        assert take(folder, target).survey.left_out == []
        stored = [files_of(target, one) for one in line(target)]
        wanted = [path.read_bytes() for path in sorted(folder.iterdir())]
        assert [list(files.values()) for files in stored] == [[data] for data in wanted], folder.name
        assert len({path for files in stored for path in files}) == 1, "one file with a history"
        assert_sound(target)
