"""Two people on one bucket of a real S3 server, as they type it."""

from __future__ import annotations

from servers import SECRET

from tests.test_cli import run  # noqa: F401  # a fixture


def test_clone_branch_push_pull_conflict_merge_and_tag_on_a_bucket(run, tmp_path, seaweed, monkeypatch):  # noqa: F811
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    address, work = seaweed.address(), tmp_path / "work"

    def ok(person, *words, code=0):
        result = run("-C", person, *words)
        assert result.code == code, result
        assert SECRET not in result.out + result.err
        return result

    run("init", "ada")
    (work / "ada" / "a.txt").write_text("one\ntwo\nthree\n")
    (work / "ada" / "b.txt").write_text("b\n")
    ok("ada", "commit", "-m", "first")
    assert "an empty store was made" in ok("ada", "remote", "add", "origin", address).out
    ok("ada", "push", "-u")
    assert run("clone", address, "bob").code == 0
    (work / "bob" / "b.txt").write_text("of bob\n")
    ok("bob", "commit", "-m", "of bob")
    ok("bob", "push")
    (work / "ada" / "a.txt").write_text("one\nADA\nthree\n")
    ok("ada", "commit", "-m", "of ada")
    assert "versions that are not here" in ok("ada", "push", code=4).err
    ok("ada", "pull")
    ok("ada", "tag", "v1", "-m", "both")
    ok("ada", "push", "origin", "main", "v1")
    (work / "bob" / "a.txt").write_text("one\nBOB\nthree\n")
    ok("bob", "commit", "-m", "in conflict")
    assert "a.txt" in ok("bob", "pull", code=4).out
    (work / "bob" / "a.txt").write_text("one\nBOTH\nthree\n")
    ok("bob", "merge", "--continue")
    ok("bob", "push")
    ok("ada", "pull")
    assert (work / "ada" / "a.txt").read_text() == "one\nBOTH\nthree\n"
    assert "v1" in ok("bob", "tag").out
    assert secret_free(work, SECRET)


def secret_free(folder, secret: str) -> bool:
    """Whether no file of any repository holds it."""
    return not any(secret.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
