"""Histories of Git repositories, with and without git-lfs, as versions."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from engine import assert_sound, snapshot, tree, weights_versions
from git_oracle import needs_git
from import_sources import GitSource, contents, files_of, line, opened, reached, take, tip

from mvc.errors import UserError, WouldOverwrite
from mvc.importing import contents as importing_contents
from mvc.importing import storing
from mvc.objects import Person, Timestamp
from mvc.refs import decode_target

pytestmark = needs_git


@pytest.fixture
def source(tmp_path) -> GitSource:
    return GitSource(tmp_path / "source")


def trained(source: GitSource, count: int = 3) -> list[bytes]:
    """A history of one model that git-lfs keeps, and a text beside it."""
    models = weights_versions(count)
    for number, data in enumerate(models):
        source.lfs("model.safetensors", data)
        source.write("notes.md", f"epoch {number}\n".encode())
        source.commit(f"epoch {number}\n\nwith a body")
    return models


def test_a_history_comes_over_with_authors_dates_messages_and_the_objects_of_git_lfs(
    source, tmp_path
) -> None:
    models = trained(source)
    before = contents(source.folder)
    done = take(source.folder, tmp_path / "repo")
    assert (done.kind, done.new, done.survey.known) == ("git-lfs", 3, 0)
    versions = line(tmp_path / "repo")
    assert [files_of(tmp_path / "repo", one) for one in versions] == [
        {"model.safetensors": data, "notes.md": f"epoch {number}\n".encode()}
        for number, data in enumerate(models)
    ]
    newest = versions[-1]
    assert newest.author == Person("Grace Hopper", "grace@example.org")
    assert newest.time == Timestamp(source.seconds * 1_000_000, 90)
    assert newest.message == "epoch 2\n\nwith a body"
    assert newest.code is not None and newest.code.commit == source.git("rev-parse", "HEAD")
    assert contents(source.folder) == before
    assert_sound(tmp_path / "repo")


def test_the_folder_is_checked_out(source, tmp_path) -> None:
    models = trained(source)
    take(source.folder, tmp_path / "repo")
    assert tree(tmp_path / "repo") == {
        "model.safetensors": (models[-1], False),
        "notes.md": (b"epoch 2\n", False),
    }


def test_merges_branches_and_tags_come_over(source, tmp_path) -> None:
    source.write("a", b"1")
    source.commit("one")
    source.git("switch", "-q", "-c", "side")
    source.write("b", b"2")
    source.commit("side")
    source.git("tag", "-m", "a good one", "v1")
    source.git("switch", "-q", "main")
    source.write("c", b"3")
    source.commit("two")
    source.git("merge", "-q", "--no-ff", "-m", "merged", "side")
    source.git("tag", "light")
    take(source.folder, tmp_path / "repo")
    merge = line(tmp_path / "repo")[-1]
    assert merge.message == "merged" and len(merge.parents) == 2
    assert (
        merge.parents[1]
        == tip(tmp_path / "repo", "refs/heads/side")
        == tip(tmp_path / "repo", "refs/tags/v1")
    )
    assert tip(tmp_path / "repo", "refs/tags/light") == tip(tmp_path / "repo")
    with opened(tmp_path / "repo").reading() as view:
        assert decode_target(view.refs.value("refs/tags/v1") or b"").word == "tag"
        assert list(view.refs.names("refs/worktree/")) == []
    assert reached(tmp_path / "repo") == 4


def test_one_branch_only(source, tmp_path) -> None:
    source.commit("one")
    source.git("switch", "-q", "-c", "side")
    source.commit("side")
    take(source.folder, tmp_path / "repo", branch="main")
    assert tip(tmp_path / "repo", "refs/heads/side") is None
    assert [one.message for one in line(tmp_path / "repo")] == ["one"]


def test_two_who_import_the_same_history_get_the_same_versions(source, tmp_path) -> None:
    trained(source)
    take(source.folder, tmp_path / "a")
    take(source.folder, tmp_path / "b", fast=True)
    assert tip(tmp_path / "a") == tip(tmp_path / "b")


def test_again_takes_only_what_is_new(source, tmp_path) -> None:
    models = trained(source, 2)
    take(source.folder, tmp_path / "repo")
    assert take(source.folder, tmp_path / "repo").new == 0
    source.write("more", b"more")
    source.commit("more")
    done = take(source.folder, tmp_path / "repo")
    assert (done.new, done.survey.known) == (1, 2)
    assert done.read_bytes == 4, "what did not change since need not be read"
    assert files_of(tmp_path / "repo", line(tmp_path / "repo")[-1])["model.safetensors"] == models[-1]


def test_an_interrupted_import_goes_on(source, tmp_path, monkeypatch) -> None:
    trained(source, 4)
    monkeypatch.setattr(storing, "BATCH_VERSIONS", 1)
    whole = storing._Batch._store
    made = []

    def interrupted(self, version) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(version.name)
        whole(self, version)

    monkeypatch.setattr(storing._Batch, "_store", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take(source.folder, tmp_path / "repo")
    assert tip(tmp_path / "repo") is None and reached(tmp_path / "repo") == 2
    assert_sound(tmp_path / "repo")
    monkeypatch.setattr(storing._Batch, "_store", whole)
    done = take(source.folder, tmp_path / "repo")
    assert (done.new, done.survey.known) == (2, 2)
    assert len(line(tmp_path / "repo")) == 4
    with opened(tmp_path / "repo").reading() as view:
        assert list(view.refs.names("refs/worktree/")) == []


def test_a_missing_object_is_named_and_nothing_is_written(source, tmp_path) -> None:
    trained(source, 1)
    data = b"not here" * 100
    place = source.lfs("gone.bin", data, stored=False)
    source.commit("gone")
    with pytest.raises(UserError, match=rf"{place.name}, gone\.bin"):
        take(source.folder, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
    assert take(source.folder, tmp_path / "repo", dry_run=True).survey.missing_count == 1
    assert not (tmp_path / "repo").exists()


def test_without_missing_objects_their_pointers_stay_until_they_come(source, tmp_path) -> None:
    place = source.lfs("gone.bin", b"not here" * 100, stored=False)
    source.commit("gone")
    pointer = (source.folder / "gone.bin").read_bytes()
    take(source.folder, tmp_path / "repo", skip_missing=True)
    assert files_of(tmp_path / "repo", line(tmp_path / "repo")[-1]) == {"gone.bin": pointer}
    place.parent.mkdir(parents=True)
    place.write_bytes(b"not here" * 100)
    source.write("other", b"")
    source.commit("later")
    take(source.folder, tmp_path / "repo")
    assert files_of(tmp_path / "repo", line(tmp_path / "repo")[-1])["gone.bin"] == b"not here" * 100


def test_a_damaged_object_is_refused(source, tmp_path) -> None:
    place = source.lfs("model.bin", b"0123456789" * 1000)
    source.commit("one")
    place.write_bytes(b"012345678X" * 1000)
    with pytest.raises(UserError, match=r"'model\.bin' is damaged in the source: its sha256 is"):
        take(source.folder, tmp_path / "repo")
    assert tip(tmp_path / "repo") is None


def test_links_count_as_files_and_other_things_are_named(source, tmp_path) -> None:
    source.write("real/weights.bin", b"w" * 5000).chmod(0o755)
    (source.folder / "link").symlink_to("real/weights.bin")
    (source.folder / "again").symlink_to("link")
    (source.folder / "out").symlink_to("/etc/passwd")
    (source.folder / "folder").symlink_to("real")
    (source.folder / "con").write_bytes(b"a device")
    (source.folder / "loop").symlink_to("loop")
    source.commit("links")
    module = source.git("rev-parse", "HEAD")
    source.git("update-index", "--add", "--cacheinfo", f"160000,{module},module")
    source.git("commit", "-q", "-m", "module")
    done = take(source.folder, tmp_path / "repo")
    weights = b"w" * 5000
    newest = line(tmp_path / "repo")[-1]
    assert files_of(tmp_path / "repo", newest) == {
        "real/weights.bin*": weights,
        "link*": weights,
        "again*": weights,
    }
    told = dict(done.survey.left_out)
    assert set(told) == {"out", "folder", "con", "loop", "module"}
    assert told["out"] == "is a link that leads out of the repository"
    assert told["module"] == "is a submodule"
    assert told["con"] == "is the name of a device on Windows"


def test_large_files_of_git_itself_go_through_a_temporary_file(source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(importing_contents, "IN_MEMORY", 1000)
    data = weights_versions(1, 20_000)[0]
    source.write("model.safetensors", data)
    source.commit("one")
    take(source.folder, tmp_path / "repo")
    assert files_of(tmp_path / "repo", line(tmp_path / "repo")[-1]) == {"model.safetensors": data}
    left = [path.name for path in (tmp_path / "repo" / ".mvc" / "tmp").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_a_branch_that_has_gone_on_here_is_not_moved(source, tmp_path) -> None:
    source.write("a", b"1")
    source.commit("one")
    take(source.folder, tmp_path / "repo")
    (tmp_path / "repo" / "mine").write_text("mine")
    mine = snapshot(opened(tmp_path / "repo"), "mine").id
    assert [one.outcome for one in take(source.folder, tmp_path / "repo").refs] == ["same"]
    source.write("a", b"2")
    source.commit("two")
    done = take(source.folder, tmp_path / "repo")
    assert [one.outcome for one in done.refs] == ["diverged"]
    assert tip(tmp_path / "repo") == mine
    assert line(tmp_path / "repo", "refs/remotes/import/main")[-1].message == "two"


def test_uncommitted_work_is_not_overwritten_and_nothing_is_lost(source, tmp_path) -> None:
    source.write("a", b"1")
    source.commit("one")
    take(source.folder, tmp_path / "repo")
    source.write("a", b"2")
    source.commit("two")
    (tmp_path / "repo" / "a").write_bytes(b"work")
    with pytest.raises(WouldOverwrite):
        take(source.folder, tmp_path / "repo")
    assert (tmp_path / "repo" / "a").read_bytes() == b"work"
    (tmp_path / "repo" / "a").write_bytes(b"1")
    done = take(source.folder, tmp_path / "repo")
    assert done.new == 0 and (tmp_path / "repo" / "a").read_bytes() == b"2"


def test_a_tag_that_is_somewhere_else_stays(source, tmp_path) -> None:
    source.commit("one")
    source.git("tag", "v1")
    take(source.folder, tmp_path / "repo")
    first = tip(tmp_path / "repo", "refs/tags/v1")
    source.commit("two")
    source.git("tag", "--force", "v1")
    done = take(source.folder, tmp_path / "repo")
    assert {one.ref: one.outcome for one in done.refs} == {"refs/heads/main": "moved", "refs/tags/v1": "kept"}
    assert tip(tmp_path / "repo", "refs/tags/v1") == first


def test_nothing_that_the_repository_names_is_run(source, tmp_path) -> None:
    source.lfs("model.bin", b"m" * 100)
    source.write(".gitattributes", b"*.bin filter=evil diff=evil\n")
    source.commit("one")
    ran = tmp_path / "ran"
    program = f"touch {ran}; cat"
    for key in ("filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv"):
        source.git("config", key, program)
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "core.editor",
        "uploadpack.packObjectsHook",
    ):
        source.git("config", key, program)
    source.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (tmp_path / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    take(source.folder, tmp_path / "repo")
    assert not ran.exists()


def test_a_partial_clone_is_not_completed_by_whatever_it_names(source, tmp_path) -> None:
    source.write("a", b"a" * 100)
    source.commit("one")
    identity = source.git("rev-parse", "HEAD:a")
    (source.folder / ".git" / "objects" / identity[:2] / identity[2:]).unlink()
    ran = tmp_path / "ran"
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::sh -c 'touch {ran}'"),
        ("protocol.ext.allow", "always"),
    ):
        source.git("config", key, value)
    with pytest.raises(UserError, match=f"lacks blob {identity[:12]}"):
        take(source.folder, tmp_path / "repo")
    assert not ran.exists()


def test_a_bare_repository_and_messages_in_other_encodings(source, tmp_path) -> None:
    source.git("config", "i18n.commitEncoding", "latin1")
    source.write("message", "Gewichte für später".encode("latin1"))
    source.git("add", "-A")
    source.git("commit", "-q", "-F", "message")
    source.git("clone", "-q", "--bare", ".", "../bare")
    take(tmp_path / "bare", tmp_path / "repo")
    assert [one.message for one in line(tmp_path / "repo")] == ["Gewichte für später"]


def test_names_are_bytes_in_git_and_text_here(source, tmp_path) -> None:
    source.write("größe.txt", b"1")
    (
        source.folder / "bad\udcff".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    ).write_bytes(b"2")
    source.commit("one")
    done = take(source.folder, tmp_path / "repo")
    assert files_of(tmp_path / "repo", line(tmp_path / "repo")[-1]) == {"größe.txt": b"1"}
    assert done.survey.left_out == [("bad\udcff", "is not valid UTF-8")]


def test_a_repository_without_commits(source, tmp_path) -> None:
    done = take(source.folder, tmp_path / "repo")
    assert (done.new, done.refs) == (0, [])


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_what_git_lfs_itself_made(source, tmp_path) -> None:
    source.git("lfs", "install", "--local")
    source.git("lfs", "track", "*.safetensors")
    models = weights_versions(3)
    for number, data in enumerate(models):
        source.write("model.safetensors", data)
        source.commit(f"epoch {number}")
    assert source.git("show", "HEAD:model.safetensors").startswith("version https://git-lfs")
    take(source.folder, tmp_path / "repo")
    versions = line(tmp_path / "repo")
    assert [files_of(tmp_path / "repo", one)["model.safetensors"] for one in versions] == models


def test_there_is_no_git(source, tmp_path, monkeypatch) -> None:
    source.commit("one")

    def nothing(*_words, **_options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", nothing)
    with pytest.raises(UserError, match="there is no git"):
        take(source.folder, tmp_path / "repo")
