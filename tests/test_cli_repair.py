# ruff: noqa: F811  a fixture is a parameter of the same name
"""``mvc repair`` as people meet it: the hints that lead there, what it prints, its exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path

from mvc import Repo
from tests.test_cli import fails, ok, run, two  # noqa: F401  fixtures
from tests.test_repair import flip, packs


def largest_pack() -> Path:
    return max(packs(Path()), key=lambda path: path.stat().st_size)


def test_a_sound_repository(two):
    assert "nothing to repair" in ok(two("repair")).out
    assert ok(two("repair", "--json")).data == {
        "dry_run": False,
        "told": [],
        "restored": [],
        "recovered": {},
        "aside": [],
        "lost": [],
        "remaining": [],
        "sound": True,
    }


def test_every_error_of_a_damaged_root_leads_to_repair(two):
    Path(".mvc/root").write_bytes(bytes(400))
    for words in (("log",), ("fsck",), ("commit", "-m", "x")):
        fails(two(*words), 5, "mvc repair")
    assert "mvc repair" in two("doctor").out
    assert "all of it would be sound again" in ok(two("repair", "-n")).out
    fails(two("log"), 5)
    told = ok(two("repair")).out
    assert "root.previous" in told and ".mvc/damaged may be deleted" in told
    ok(two("log"))
    assert "damaged" in ok(two("doctor")).out


def test_what_fsck_says_leads_to_repair(two):
    shutil.copytree(".", "../copy")
    path = largest_pack()
    flip(path, path.stat().st_size // 2)
    Path("model.safetensors").rename("../model")
    assert "mvc repair" in two("fsck", "--full").out
    lost = two("repair", "--json")
    assert lost.code == 5 and not lost.data["sound"] and lost.data["lost"][0]["touched"]["files"]
    told = two("repair")
    assert told.code == 5 and "model.safetensors" in told.out and "--from FOLDER" in told.out
    assert "came back from" in ok(two("repair", "--from", "../copy")).out
    assert "sound" in ok(two("fsck", "--full")).out


def test_a_file_that_is_put_back_heals(two):
    path = max(packs(Path()), key=lambda path: path.stat().st_mtime_ns)
    flip(path, 24 + 200)  # in its first record, a piece of the newest file
    told = ok(two("repair")).out
    assert "back from model.safetensors" in told
    ok(two("fsck", "--full"))


def test_a_repository_without_its_format_file(two):
    Path(".mvc/format").unlink()
    fails(two("log"), 3)
    assert "mvc repair" in two("doctor").out
    assert "written again" in ok(two("repair")).err
    ok(two("log"))


def test_what_is_no_copy_is_refused(two, tmp_path):
    fails(two("repair", "--from", str(tmp_path)), 3, "no copy of a repository")
    fails(two("repair", "--from", "."), 3, "is to be repaired")


def test_from_python(two):
    shutil.copytree(".", "../copy")
    shutil.rmtree(".mvc/packs")
    with Repo.open(".") as repo:
        assert not repo.repair(dry_run=True).sound
        done = repo.repair(["../copy"])
        assert done.sound and done.did_something
        assert repo.repair().sound
