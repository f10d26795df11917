"""Repositories of DVC as versions."""

from __future__ import annotations

import shutil

import pytest
from engine import assert_sound, weights_versions
from git_oracle import needs_git
from import_sources import GitSource, contents, files_of, line, take, tip

from mvc.errors import UserError

pytestmark = needs_git


@pytest.fixture
def source(tmp_path) -> GitSource:
    found = GitSource(tmp_path / "source")
    found.write(".dvc/config", b"")
    found.write(".dvc/.gitignore", b"/cache\n")
    found.write(".gitignore", b"/.dvc/cache\n")
    return found


def commit(source: GitSource, message: str) -> str:
    """Without the cache, which is none of Git's."""
    (source.folder / ".git" / "info").mkdir(exist_ok=True)
    source.git("add", "-A")
    source.git("commit", "-q", "-m", message)
    return source.git("rev-parse", "HEAD")


def dvc_file(md5: str, path: str, *, extra: str = "  hash: md5\n") -> bytes:
    return f"outs:\n- md5: {md5}\n  size: 1\n{extra}  path: {path}\n".encode()


def newest(tmp_path) -> dict[str, bytes]:
    files = files_of(tmp_path / "repo", line(tmp_path / "repo")[-1])
    return {path: data for path, data in files.items() if not path.endswith((".dvc", ".gitignore", "config"))}


def test_files_and_folders_come_out_of_the_cache(source, tmp_path) -> None:
    models = weights_versions(2)
    for number, data in enumerate(models):
        md5 = source.dvc_object(data)
        source.write("models/model.safetensors.dvc", dvc_file(md5, "model.safetensors"))
        folder = source.dvc_folder({"a.txt": b"a%d" % number, "deep/b.txt": b"b"})
        source.write("data.dvc", dvc_file(folder + ".dir", "data"))
        commit(source, f"epoch {number}")
    before = contents(source.folder)
    done = take(source.folder, tmp_path / "repo")
    assert (done.kind, done.new) == ("dvc", 2)
    for number, version in enumerate(line(tmp_path / "repo")):
        files = files_of(tmp_path / "repo", version)
        assert files["models/model.safetensors"] == models[number]
        assert files["data/a.txt"] == b"a%d" % number and files["data/deep/b.txt"] == b"b"
        assert "data.dvc" in files, "what Git has comes too"
    assert contents(source.folder) == before
    assert_sound(tmp_path / "repo")


def test_outs_of_pipelines_stand_in_the_lock_file(source, tmp_path) -> None:
    model, table = source.dvc_object(b"model" * 100), source.dvc_object(b"table" * 100)
    source.write(
        "sub/dvc.yaml",
        b"stages:\n  train:\n    cmd: python train.py\n    wdir: ..\n    outs:\n    - model.bin\n"
        b"  tables:\n    foreach:\n    - x\n    do:\n      cmd: t\n      wdir: out\n",
    )
    source.write(
        "sub/dvc.lock",
        f"""schema: '2.0'
stages:
  train:
    cmd: python train.py --with 'a very long line' that DVC folds into
      the next one: like this
    deps:
    - path: data
      hash: md5
      md5: 11111111111111111111111111111111.dir
      size: 12
      nfiles: 2
    params:
      params.yaml:
        lr: 0.1
        layers: []
    outs:
    - path: model.bin
      hash: md5
      md5: {model}
      size: 500
  tables@x:
    cmd:
    - one
    - |
      two: three
      - four
    outs:
    - path: table.csv
      hash: md5
      md5: {table}
      size: 500
""".encode(),
    )
    commit(source, "pipeline")
    take(source.folder, tmp_path / "repo")
    files = newest(tmp_path)
    assert files["model.bin"] == b"model" * 100
    assert files["sub/table.csv"] == b"table" * 100


def test_objects_of_the_layout_before_version_3_whose_line_ends_do_not_count(source, tmp_path) -> None:
    plain = source.dvc_object(b"one\ntwo\n", old=True)
    windows = b"three\r\nfour\r\n"
    unix = source.dvc_object(b"three\nfour\n", old=True)
    place = source.folder / ".dvc" / "cache" / unix[:2] / unix[2:]
    place.write_bytes(windows)
    source.write("a.txt.dvc", dvc_file(plain, "a.txt", extra=""))
    source.write("b.txt.dvc", dvc_file(unix, "b.txt", extra=""))
    commit(source, "old")
    take(source.folder, tmp_path / "repo")
    assert newest(tmp_path) == {"a.txt": b"one\ntwo\n", "b.txt": windows}


def test_a_remote_that_is_a_folder_is_looked_into(source, tmp_path) -> None:
    source.write(
        ".dvc/config", b"[core]\n    remote = store\n['remote \"store\"']\n    url = ../../storage\n"
    )
    md5 = source.dvc_object(b"far away", cache="../storage")
    source.write("a.bin.dvc", dvc_file(md5, "a.bin"))
    commit(source, "one")
    take(source.folder, tmp_path / "repo")
    assert newest(tmp_path) == {"a.bin": b"far away"}


def test_what_is_missing_is_named_or_left_out(source, tmp_path) -> None:
    md5 = "0" * 32
    source.write("a.bin.dvc", dvc_file(md5, "a.bin"))
    source.write("data.dvc", dvc_file(md5 + ".dir", "data"))
    commit(source, "one")
    with pytest.raises(UserError, match=rf"DVC object {md5}, a\.bin; DVC object {md5}\.dir, data"):
        take(source.folder, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
    take(source.folder, tmp_path / "repo", skip_missing=True)
    assert newest(tmp_path) == {}


def test_what_was_missing_comes_with_the_next_version(source, tmp_path) -> None:
    data = b"late" * 1000
    source.write("a.bin.dvc", dvc_file("f" * 32, "a.bin"))
    commit(source, "one")
    take(source.folder, tmp_path / "repo", skip_missing=True)
    source.write("a.bin.dvc", dvc_file(source.dvc_object(data), "a.bin"))
    commit(source, "two")
    assert take(source.folder, tmp_path / "repo", skip_missing=True).new == 1
    assert newest(tmp_path) == {"a.bin": data}


def test_a_damaged_object_is_refused(source, tmp_path) -> None:
    md5 = source.dvc_object(b"0123456789")
    (source.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).write_bytes(b"012345678X")
    source.write("a.bin.dvc", dvc_file(md5, "a.bin"))
    commit(source, "one")
    with pytest.raises(UserError, match=r"'a\.bin' is damaged in the source: its md5"):
        take(source.folder, tmp_path / "repo")
    assert tip(tmp_path / "repo") is None


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../out", "s3://bucket/x"])
def test_outs_that_lie_elsewhere_are_left_out(source, tmp_path, path) -> None:
    source.write("x.dvc", dvc_file(source.dvc_object(b"1"), path))
    commit(source, "one")
    done = take(source.folder, tmp_path / "repo")
    assert done.survey.left_out == [(path, "lies outside of the repository")]
    assert newest(tmp_path) == {}


def test_files_of_a_folder_stay_in_it(source, tmp_path) -> None:
    folder = source.dvc_folder({"../../escape": b"1", ".git/hooks/post-checkout": b"2", "fine": b"3"})
    source.write("data.dvc", dvc_file(folder + ".dir", "data"))
    commit(source, "one")
    done = take(source.folder, tmp_path / "repo")
    assert newest(tmp_path) == {"data/fine": b"3"}
    assert {path for path, _why in done.survey.left_out} == {
        "data/../../escape",
        "data/.git/hooks/post-checkout",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"outs: [{md5: x, path: y}]\n",
        b"outs:\n- path: a\n  md5: zz\n",
        b"outs:\n- md5: 00000000000000000000000000000000\n",
        b"- just\n- a list\n",
        b"outs:\n- &anchor\n  path: a\n",
        b"\xff\xfe",
    ],
)
def test_what_is_not_understood_is_refused_by_name(source, tmp_path, data) -> None:
    source.write("strange.dvc", data)
    commit(source, "one")
    with pytest.raises(UserError, match=r"'strange\.dvc' cannot be read"):
        take(source.folder, tmp_path / "repo")


@pytest.mark.skipif(shutil.which("dvc") is None, reason="dvc is not installed")
def test_what_dvc_itself_made(source, tmp_path) -> None:
    import subprocess

    shutil.rmtree(source.folder / ".dvc")
    model = weights_versions(1)[0]
    source.write("model.safetensors", model)
    source.write("data/a.txt", b"a")
    for words in (("init", "-q"), ("add", "-q", "model.safetensors", "data")):
        subprocess.run(["dvc", *words], cwd=source.folder, check=True)
    commit(source, "one")
    take(source.folder, tmp_path / "repo")
    files = newest(tmp_path)
    assert files["model.safetensors"] == model and files["data/a.txt"] == b"a"
