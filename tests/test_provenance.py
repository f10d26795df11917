"""Where a version comes from: environment and code, found without running anything that they name; data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from mvc import canonical, provenance
from mvc.config import KNOWN, Config, enabled
from mvc.errors import ConfigError, FileChanged, UsageError, UserError
from mvc.fileio import FileIO
from mvc.fingerprint import fingerprint
from mvc.lineage import Code, Data, Environment
from mvc.monitor import Monitor
from tests.engine import make_repository, open_repository, snapshot


# --- environment -------------------------------------------------------------------------------------------
def fake_environment(prefix: Path, *metadata: str, python: str = "python3.12") -> Path:
    site = prefix / "lib" / python / "site-packages"
    for name in metadata:
        (site / name).mkdir(parents=True)
    return prefix


def test_the_running_interpreter():
    found = provenance.environment({})
    assert found.of == "interpreter"
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert (found.system, found.machine) == (os.uname().sysname, os.uname().machine)
    assert found.packages["numpy"] == __import__("numpy").__version__
    assert "pytest" not in found.packages
    said = str(found)
    assert os.uname().nodename not in said
    assert str(Path.home()) not in said


def test_an_active_virtualenv_is_meant_by_its_files(tmp_path):
    fake_environment(
        tmp_path,
        "torch-2.7.1+cu126.dist-info",
        "scikit_learn-1.5.0.dist-info",
        "pytorch_lightning-2.4.0-py3.12.egg-info",
        "Keras-3.5.0.dist-info",
        "requests-2.0.dist-info",
        "torch_geometric-1.0.dist-info",
        "torch",
    )
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.4\n")
    found = provenance.environment({"VIRTUAL_ENV": str(tmp_path)})
    assert (found.of, found.python, found.implementation) == ("virtualenv", "3.12.4", None)
    assert found.packages == {
        "keras": "3.5.0",
        "pytorch_lightning": "2.4.0",
        "scikit_learn": "1.5.0",
        "torch": "2.7.1+cu126",
    }
    assert str(tmp_path) not in str(found)


def test_an_active_conda_environment(tmp_path):
    fake_environment(tmp_path, "jax-0.5.0.dist-info", python="python3.11")
    (tmp_path / "lib" / "python3.1").symlink_to("python3.11")
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "python-3.11.9-h955ad1f_0.json").write_text("{}")
    (tmp_path / "conda-meta" / "python-dateutil-2.9-py_0.json").write_text("{}")
    found = provenance.environment({"CONDA_PREFIX": str(tmp_path)})
    assert (found.of, found.python, found.packages) == ("conda", "3.11.9", {"jax": "0.5.0"})


def test_an_environment_that_is_not_there_or_is_our_own_does_not_count(tmp_path):
    for variables in (
        {"VIRTUAL_ENV": str(tmp_path / "gone")},
        {"VIRTUAL_ENV": sys.prefix},
        {"VIRTUAL_ENV": "relative"},
        {"CONDA_PREFIX": ""},
    ):
        assert provenance.environment(variables).of == "interpreter"


def test_a_broken_environment_stops_nothing(tmp_path):
    (tmp_path / "pyvenv.cfg").mkdir()
    (tmp_path / "lib").write_text("a file")
    found = provenance.environment({"VIRTUAL_ENV": str(tmp_path)})
    assert (found.of, found.python, found.packages) == ("virtualenv", None, {})


def test_nothing_is_imported_for_it(tmp_path):
    for name in ("torch", "numpy"):
        package = fake_environment(tmp_path, f"{name}-9.9.dist-info") / f"lib/python3.12/site-packages/{name}"
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit('imported')")
    script = (
        "import sys; before = {'torch', 'numpy'} & set(sys.modules); from mvc import provenance;"
        f" found = provenance.environment({{'VIRTUAL_ENV': {str(tmp_path)!r}}});"
        " assert found.packages == {'torch': '9.9', 'numpy': '9.9'}, found;"
        " assert {'torch', 'numpy'} & set(sys.modules) == before == set()"
    )
    top = str(Path(__file__).parent.parent)
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": top})


# --- code --------------------------------------------------------------------------------------------------
@pytest.fixture
def git(tmp_path, monkeypatch):
    """A Git repository with one commit; returns a function that runs Git in it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "code"
    folder.mkdir()

    def run(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "-q", "-b", "trunk")
    run("config", "user.name", "Ada")
    run("config", "user.email", "ada@example.org")
    (folder / "train.py").write_text("print()\n")
    run("add", ".")
    run("commit", "-q", "-m", "first")
    return run


def test_code_is_the_commit_around_the_folder(git, tmp_path):
    inner = tmp_path / "code" / "models"
    inner.mkdir()
    git("remote", "add", "origin", "git@github.com:org/repo.git")
    (inner / "untracked.bin").write_bytes(b"x")
    assert provenance.code(inner) == Code(
        git("rev-parse", "HEAD"), False, "trunk", "git@github.com:org/repo.git"
    )
    (tmp_path / "code" / "train.py").write_text("changed\n")
    assert provenance.code(inner).dirty is True
    git("checkout", "-q", "--detach")
    assert provenance.code(inner).branch is None


def test_no_code_where_there_is_none(tmp_path, git):
    assert provenance.code(tmp_path) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run(["git", "init", "-q", str(empty)], check=True)
    assert provenance.code(empty) is None
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").write_text("gitdir: nowhere")
    assert provenance.code(tmp_path / "broken") is None


def test_no_code_without_git(git, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code(tmp_path / "code") is None


@pytest.mark.parametrize(
    ("address", "recorded"),
    [
        ("https://ada:secret@host/r.git", "https://ada:secret@host/r.git"),  # masked where it is stored
        ("ada@host:r.git", "host:r.git"),
        ("git@host:r.git", "git@host:r.git"),
        ("/home/ada/r.git", None),
        ("../r.git", None),
        ("file:///home/ada/r.git", None),
    ],
)
def test_remotes(git, tmp_path, address, recorded):
    git("config", "remote.origin.url", address)
    assert provenance.code(tmp_path / "code").remote == recorded


def test_programs_that_a_repository_names_do_not_run(git, tmp_path):
    folder, mark = tmp_path / "code", tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f'#!/bin/sh\necho "$0 $@" >> {mark}\ncat\n')
    script.chmod(0o755)
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")
    git("add", ".gitattributes")
    git("commit", "-q", "-m", "attributes")
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "filter.evil.clean"):
        git("config", key, str(script))
    git("config", "filter.evil.required", "true")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        (hooks / name).symlink_to(script)
    git("config", "core.hooksPath", str(hooks))
    (folder / "train.py").write_text("print(1)\n")  # of another size: Git would ask the filter
    os.utime(folder / ".gitattributes", (1, 1))
    found = provenance.code(folder)
    assert found is not None and found.commit == git("rev-parse", "HEAD") and found.branch == "trunk"
    assert found.dirty is None  # not asked: a filter would have run
    assert not mark.exists()
    for key in ("clean", "required"):
        git("config", "--unset", f"filter.evil.{key}")
    assert provenance.code(folder).dirty is True
    assert not mark.exists()
    git("status")  # what Git does on its own
    assert mark.exists()


def test_a_slow_git_does_not_hold_a_commit_up(git, tmp_path, monkeypatch):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (bin_ / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.1)
    assert provenance.code(tmp_path / "code") is None


# --- data --------------------------------------------------------------------------------------------------
def described(tmp_path: Path, **items: str) -> dict[str, Data]:
    return provenance.data(FileIO(), items, folder=tmp_path, worktree=tmp_path, monitor=Monitor())


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    content = os.urandom(5 << 20)  # more than one buffer
    (tmp_path / "a.bin").write_bytes(content)
    found = described(tmp_path, train="a.bin")
    assert found == {"train": Data("file", "a.bin", len(content), None, blake3(content).digest())}


def test_a_folder_has_the_digest_of_its_list(tmp_path):
    files = {"d/a": b"1", "d/a-b": b"", "d/a.d/x": b"22", "d/b/c/e": b"333", "d/\u00e9": b"4"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "d" / "empty").mkdir()
    whole = blake3()
    rows = {os.fsencode(name.removeprefix("d/")): content for name, content in files.items()}
    for name in sorted(rows):
        whole.update(canonical.pack([name, len(rows[name]), blake3(rows[name]).digest()]))
    monitor = Monitor()
    found = fingerprint(FileIO(), tmp_path / "d", "d", monitor)
    assert found == Data("folder", "d", 7, 5, whole.digest())
    assert not monitor.warnings
    (tmp_path / "d" / "link").symlink_to("a")
    (tmp_path / "d" / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "d" / "pipe")
    assert fingerprint(FileIO(), tmp_path / "d", "d", monitor) == found
    assert "left out of its fingerprint: 3" in monitor.warnings[0]
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "a2")
    assert fingerprint(FileIO(), tmp_path / "d", "d", monitor).blake3 != found.blake3


def test_what_the_user_names_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    assert described(tmp_path, d="link")["d"].files == 1


def test_addresses_are_noted_and_paths_tell_no_folder_of_anyone(tmp_path):
    (tmp_path / "home" / "ada").mkdir(parents=True)
    (tmp_path / "home" / "ada" / "set.csv").write_text("1")
    (tmp_path / "work" / "data").mkdir(parents=True)
    (tmp_path / "work" / "data" / "t").write_text("1")
    items = {
        "hub": "hf://datasets/a/b",
        "outside": str(tmp_path / "home" / "ada" / "set.csv"),
        "up": "../../home/ada/set.csv",
        "inside": "t",
        "absolute": str(tmp_path / "work" / "data"),
    }
    worktree = tmp_path / "work"
    found = provenance.data(FileIO(), items, folder=worktree / "data", worktree=worktree, monitor=Monitor())
    assert found["hub"] == Data("uri", "hf://datasets/a/b")
    assert [found[name].location for name in ("outside", "up", "inside", "absolute")] == [
        "set.csv",
        "set.csv",
        "data/t",
        "data",
    ]


def test_data_that_cannot_be_described(tmp_path):
    with pytest.raises(UserError, match=r"no data .*gone'"):
        described(tmp_path, d="gone")
    with pytest.raises(UsageError, match="address of a file"):
        described(tmp_path, d="file:///etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither"):
        described(tmp_path, d="pipe")


def test_data_that_changes_while_it_is_read_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)

    class Growing(FileIO):
        def read_into(self, fd, buffer, offset):
            with (tmp_path / "a").open("ab") as file:
                file.write(b"more" if offset < 110 else b"")
            return super().read_into(fd, buffer, offset)

    with pytest.raises(FileChanged):
        fingerprint(Growing(), tmp_path / "a", "a", Monitor())


# --- what a commit keeps -----------------------------------------------------------------------------------
SECRET = "hf" + "_" + "a" * 34


def test_a_commit_keeps_it_without_secrets(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "a").write_text("1")
    done = snapshot(
        repository,
        f"the message may say {SECRET}",
        params={"api_key": "abc", "url": "https://u:p@h/x", "max_tokens": 5, SECRET: 1},
        data={"d": Data("uri", "s3://b/k?X-Amz-Signature=abc"), SECRET: Data("uri", "x://y")},
        code=Code("ab" * 20, False, "main", f"https://u:{SECRET}@h/r.git"),
        environment=Environment(of="interpreter", python="3.12", extra={"note": f"token={SECRET}"}),
    )
    with open_repository(tmp_path).reading() as view:
        commit = view.commit(done.id)
        stored = view.objects.get(done.id)
    assert commit.params == {"api_key": "***", "url": "https://***@h/x", "max_tokens": 5, "***": 1}
    assert commit.data == {"d": Data("uri", "s3://b/k?X-Amz-Signature=***"), "***": Data("uri", "x://y")}
    assert commit.code.remote == "https://***@h/r.git"
    assert commit.environment.extra == {"note": "token=***"}
    assert stored.count(SECRET.encode()) == 1  # the message
    assert sum("looks like a secret" in text for text in repository.monitor.warnings) == 3
    assert not any(SECRET in text for text in repository.monitor.warnings)


def test_amending_keeps_the_origin_while_the_files_stay(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "a").write_text("1")
    first, second = Code("aa" * 20, False), Code("bb" * 20, True)
    old, new = Environment(python="3.11"), Environment(python="3.12")
    snapshot(repository, "one", data={"d": Data("uri", "x://1")}, code=first, environment=old)
    better = {"e": Data("uri", "x://2")}
    commit = snapshot(repository, "two", amend=True, data=better, code=second, environment=new).commit
    assert (commit.code, commit.environment) == (first, old)
    assert set(commit.data) == {"d", "e"}
    (tmp_path / "a").write_text("2")
    commit = snapshot(repository, None, amend=True, code=second, environment=new).commit
    assert (commit.code, commit.environment) == (second, new)
    (tmp_path / "a").write_text("3")
    commit = snapshot(repository, None, amend=True).commit
    assert (commit.code, commit.environment) == (second, new)


def test_switches():
    key = "commit.code"
    assert KNOWN[key][0] is bool
    on, off = Config("[commit]\ncode = true\n", "a"), Config("[commit]\ncode = false\n", "b")
    assert enabled([], key)
    assert enabled([on, off], key)
    assert not enabled([Config("", "c"), off], key)
    with pytest.raises(ConfigError, match="not true or false"):
        enabled([Config('[commit]\ncode = "no"\n', "d")], key)
