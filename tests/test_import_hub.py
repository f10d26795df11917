"""Models of a Hugging Face cache as versions."""

from __future__ import annotations

import pytest
from engine import assert_sound, tree, weights_versions
from import_sources import HubSource, contents, files_of, line, take, tip

from mvc.errors import UserError

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


@pytest.fixture
def source(tmp_path) -> HubSource:
    return HubSource(tmp_path / "models--org--name")


def test_snapshots_are_versions_in_the_order_of_their_download(source, tmp_path) -> None:
    models = weights_versions(2)
    for revision, data in zip((TWO, ONE), models, strict=True):
        source.snapshot(revision, {"model.safetensors": data, "config/a.json": b"{}"})
    source.ref("main", ONE)
    source.ref("v1.0", TWO)
    source.ref("dev", TWO)
    before = contents(source.folder)
    done = take(source.folder, tmp_path / "repo")
    assert (done.kind, done.new) == ("huggingface", 2)
    versions = line(tmp_path / "repo")
    assert [files_of(tmp_path / "repo", one) for one in versions] == [
        {"model.safetensors": data, "config/a.json": b"{}"} for data in models
    ]
    code = versions[-1].code
    assert code is not None and (code.commit, code.remote) == (ONE, "https://huggingface.co/org/name")
    first = versions[-1].parents[0]
    assert tip(tmp_path / "repo", "refs/tags/v1.0") == tip(tmp_path / "repo", "refs/heads/dev") == first
    assert tree(tmp_path / "repo")["model.safetensors"] == (models[1], False)
    assert contents(source.folder) == before
    assert_sound(tmp_path / "repo")


def test_again_takes_only_new_snapshots_and_main_stays_where_the_hub_has_it(source, tmp_path) -> None:
    source.snapshot(ONE, {"config.json": b"1"})
    source.ref("main", ONE)
    take(source.folder, tmp_path / "repo")
    assert take(source.folder, tmp_path / "repo").new == 0
    source.snapshot(TWO, {"config.json": b"2"})
    done = take(source.folder, tmp_path / "repo")
    assert done.new == 0 and any("--branch NAME takes all" in note for note in done.notes)
    source.ref("main", TWO)
    assert take(source.folder, tmp_path / "repo").new == 1
    assert [files_of(tmp_path / "repo", one)["config.json"] for one in line(tmp_path / "repo")] == [
        b"1",
        b"2",
    ]


def test_a_snapshot_of_which_more_was_downloaded_is_another_version(source, tmp_path) -> None:
    source.snapshot(ONE, {"config.json": b"1"})
    source.ref("main", ONE)
    take(source.folder, tmp_path / "repo")
    source.snapshot(ONE, {"model.safetensors": weights_versions(1)[0]})
    assert take(source.folder, tmp_path / "repo").new == 1
    assert set(files_of(tmp_path / "repo", line(tmp_path / "repo")[-1])) == {
        "config.json",
        "model.safetensors",
    }


def test_links_out_of_the_blobs_are_left_out(source, tmp_path) -> None:
    source.snapshot(ONE, {"config.json": b"1"})
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (source.folder / "snapshots" / ONE / "stolen").symlink_to(secret)
    (source.folder / "snapshots" / ONE / "above").symlink_to("../../refs")
    done = take(source.folder, tmp_path / "repo")
    assert files_of(tmp_path / "repo", line(tmp_path / "repo")[-1]) == {"config.json": b"1"}
    assert [path for path, _why in done.survey.left_out] == ["above", "stolen"]


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_blobs_are_what_their_names_say(source, tmp_path, path) -> None:
    source.snapshot(ONE, {path: b"x" * 100})
    for blob in (source.folder / "blobs").iterdir():
        blob.write_bytes(b"y" * 100)
    with pytest.raises(UserError, match="is damaged in the source"):
        take(source.folder, tmp_path / "repo")
    assert tip(tmp_path / "repo") is None


def test_a_blob_that_is_gone_is_missing(source, tmp_path) -> None:
    source.snapshot(ONE, {"a.json": b"1", "b.json": b"2"})
    next(iter(sorted((source.folder / "blobs").iterdir()))).unlink()
    with pytest.raises(UserError, match="the source lacks blob"):
        take(source.folder, tmp_path / "repo")
    take(source.folder, tmp_path / "repo", skip_missing=True)
    assert len(files_of(tmp_path / "repo", line(tmp_path / "repo")[-1])) == 1


def test_a_whole_cache_asks_for_one_model(source, tmp_path) -> None:
    source.snapshot(ONE, {"a.json": b"1"})
    with pytest.raises(UserError, match="holds 1 models: models--org--name"):
        take(tmp_path, tmp_path / "repo")


def test_a_ref_that_names_no_snapshot_is_told(source, tmp_path) -> None:
    source.snapshot(ONE, {"a.json": b"1"})
    source.ref("main", ONE)
    source.ref("pr/1", THREE)
    done = take(source.folder, tmp_path / "repo")
    assert done.notes == ["'pr/1' names a snapshot that is not in the cache; it is left out"]
