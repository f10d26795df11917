"""Finds out where a version comes from: Python and its frameworks, the code's Git commit, the data.

Nothing is imported and nothing is executed but ``git``, which is told to run no program that a repository
names. What is found is handed to :class:`mvc.ops.commit.Request`; secrets are taken out there. Host names,
user names and home folders are never part of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from mvc.context import child_environment
from mvc.errors import UsageError
from mvc.fileio import FileIO
from mvc.fingerprint import fingerprint
from mvc.lineage import Code, Data, Environment
from mvc.monitor import Monitor


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- environment -------------------------------------------------------------------------------------------
FRAMEWORKS = _words(
    "accelerate axolotl bitsandbytes catboost datasets deepspeed diffusers equinox fairscale fastai flax "
    "gguf h5py huggingface_hub jax jaxlib keras lightgbm lightning megatron_core mlx mxnet numpy onnx "
    "onnxruntime onnxruntime_gpu optax orbax_checkpoint paddlepaddle peft pytorch_lightning safetensors "
    "scikit_learn scipy sentence_transformers sentencepiece spacy tensorflow tensorflow_cpu tf_keras "
    "tiktoken timm tokenizers torch torchao torchaudio torchvision transformers triton trl ultralytics "
    "unsloth vllm xgboost"
)
"""Packages whose versions are recorded, by normalised name (PEP 503, with underscores)."""

_DISTRIBUTION = "modelvc"
_METADATA = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9.+!_]{1,64})(?:-py[0-9.]+)?\.(?:dist|egg)-info"
)
_SEPARATORS = re.compile(r"[-_.]+")
_CONDA_PYTHON = re.compile(r"python-(?P<version>[0-9][A-Za-z0-9.]{0,31})-[^-]+\.json")
_LIBRARY = re.compile(r"(?:python|pypy)[0-9]+\.[0-9]+t?")
_MAX_SETTINGS_BYTES = 1 << 16


def environment(variables: Mapping[str, str]) -> Environment:
    """The environment that a version is committed under.

    That is the active one: where ``VIRTUAL_ENV`` or ``CONDA_PREFIX`` of ``variables`` names another than
    mvc's own, it is looked at by its files' names, and else the interpreter that runs mvc is meant.
    """
    own = _packages(_site_folders(), {*FRAMEWORKS, _DISTRIBUTION})
    system = os.uname()
    version = own.pop(_DISTRIBUTION, None)
    here = Path(os.path.realpath(sys.prefix))
    for variable, kind in (("VIRTUAL_ENV", "virtualenv"), ("CONDA_PREFIX", "conda")):
        prefix = variables.get(variable, "")
        if prefix.startswith("/") and os.path.isdir(prefix):
            if Path(os.path.realpath(prefix)) == here:
                break
            return Environment(
                of=kind,
                python=_python_of(Path(prefix)),
                system=system.sysname,
                release=system.release,
                machine=system.machine,
                mvc=version,
                packages=_packages(_site_folders_of(Path(prefix)), FRAMEWORKS),
            )
    return Environment(
        of="interpreter",
        python=".".join(map(str, sys.version_info[:3])),
        implementation=_IMPLEMENTATIONS.get(sys.implementation.name, sys.implementation.name),
        system=system.sysname,
        release=system.release,
        machine=system.machine,
        mvc=version,
        packages=own,
    )


_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalPy"}


def _site_folders() -> list[Path]:
    """Where this interpreter's packages are installed, in the order in which it looks."""
    # not the other places: one may be the current folder, with any number of files
    return [Path(item) for item in sys.path if item.endswith(("/site-packages", "/dist-packages"))]


def _site_folders_of(prefix: Path) -> list[Path]:
    names = sorted(name for name in _names(prefix / "lib") if _LIBRARY.fullmatch(name))
    # conda has links beside the real folder: python3.1 -> python3.11
    return [
        prefix / "lib" / name / "site-packages" for name in names if not (prefix / "lib" / name).is_symlink()
    ]


def _packages(folders: Iterable[Path], wanted: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages from the names of their metadata folders: one listing for each place
    instead of a search for each package."""
    found: dict[str, str] = {}
    for folder in folders:
        for name in sorted(_names(folder)):
            match = _METADATA.fullmatch(name) if name.endswith("-info") else None
            if match:
                package = _SEPARATORS.sub("_", match["name"]).lower()
                if package in wanted:
                    found.setdefault(package, match["version"])
    return {name: found[name] for name in sorted(found)}


def _python_of(prefix: Path) -> str | None:
    """The version of another environment's Python, from its settings or its conda metadata."""
    for line in _small_text(prefix / "pyvenv.cfg").splitlines():
        key, _, value = line.partition("=")
        version = re.match(r"\s*(\d+\.\d+(?:\.\d+)?)", value)
        if key.strip() in ("version", "version_info") and version:
            return version[1]
    for name in sorted(_names(prefix / "conda-meta")):
        match = _CONDA_PYTHON.fullmatch(name)
        if match:
            return match["version"]
    return None


def _names(folder: Path) -> list[str]:
    """Names in a folder; none where it cannot be read: a broken environment must not stop a commit."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _small_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_SETTINGS_BYTES).decode(errors="replace")
    except OSError:
        return ""


# --- code --------------------------------------------------------------------------------------------------
GIT_SECONDS = 2.0
"""Longer than any repository should take; a commit does not wait for more."""

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SCP_LIKE = re.compile(r"(?:(?P<user>[^/@:\s]+)@)?(?P<host>[A-Za-z0-9.\[\]-]{2,}):(?!//)(?P<path>\S+)")
_SETTINGS = r"^(remote\.origin\.url|filter\..*\.(clean|process))$"
_GIT = (
    "git",
    "--no-pager",
    "--no-optional-locks",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
)
_STATUS = (
    "status",
    "--porcelain=v2",
    "--branch",
    "-z",
    "--untracked-files=no",
    "--ignore-submodules=all",
    "--no-renames",
)
_GIT_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks, by whatever its settings name
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


def code(folder: Path) -> Code | None:
    """The Git repository that a folder lies in; None where there is none, no commit yet, or no Git.

    A repository whose own settings name filters is not asked whether it is dirty, since that would run them.
    """
    if not any(os.path.lexists(place / ".git") for place in (folder, *folder.parents)):
        return None
    settings = _git(folder, "config", "--null", "--show-scope", "--get-regexp", _SETTINGS, fine=(0, 1))
    origin, filters = _parse_settings(settings)
    status = None if filters else _git(folder, *_STATUS)
    if status is None:
        lines = (_git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD") or "").split("\n")
        commit, branch, dirty = lines[0], lines[1] if len(lines) > 1 else "", None
        branch = "" if branch == "HEAD" else branch
    else:
        commit, branch, dirty = _parse_status(status)
    if not _OID.fullmatch(commit):
        return None
    return Code(commit, dirty, branch or None, _remote(origin))


def _parse_settings(text: str | None) -> tuple[str, bool]:
    """The address of ``origin``, and whether the repository itself names programs to run; taken for so where
    Git does not tell."""
    if text is None:
        return "", True
    items = iter(text.split("\0"))
    origin, filters = "", False
    for scope, item in zip(items, items, strict=False):  # what is behind the last one is empty
        key, _, value = item.partition("\n")
        if key == "remote.origin.url":
            origin = value
        elif scope in ("local", "worktree") and value:
            filters = True
    return origin, filters


def _parse_status(text: str) -> tuple[str, str, bool]:
    """Commit, branch and whether tracked files differ, of porcelain status, version 2."""
    commit = branch = ""
    dirty = False
    for line in text.split("\0"):
        if line.startswith("# branch.oid "):
            commit = line.removeprefix("# branch.oid ")
        elif line.startswith("# branch.head "):
            branch = line.removeprefix("# branch.head ")
        elif line and not line.startswith("#"):
            dirty = True
    return commit, "" if branch == "(detached)" else branch, dirty


def _remote(address: str) -> str | None:
    """An address that says where code is; None for a folder of this machine."""
    scheme, colon, _ = address.partition("://")
    if colon:
        return None if scheme == "file" else address
    match = _SCP_LIKE.fullmatch(address)
    if match is None:
        return None
    user = "git@" if match["user"] == "git" else ""  # others are people
    return f"{user}{match['host']}:{match['path']}"


def _git(folder: Path, *words: str, fine: tuple[int, ...] = (0,)) -> str | None:
    """What Git prints; None where there is no Git, it refuses, or it takes too long."""
    import subprocess  # a few milliseconds: only where there is a repository

    try:
        done = subprocess.run(
            [*_GIT, *words],
            cwd=folder,
            env=child_environment(_GIT_VARIABLES),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode in fine else None


# --- data --------------------------------------------------------------------------------------------------
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+", re.DOTALL)


def data(
    io: FileIO, items: Mapping[str, str], *, folder: Path, worktree: Path, monitor: Monitor
) -> dict[str, Data]:
    """Describe data by name: what lies at a path (relative ones start in ``folder``) is read, an address
    (``scheme://…``) is only noted.

    A path inside of the work tree is recorded relative to its top, of another one only the last name.

    Raises:
        UsageError: a ``file://`` address.
        UserError, FileChanged, StorageError: see :func:`mvc.fingerprint.fingerprint`.
    """
    found = {}
    for name, text in items.items():
        if not text:
            raise UsageError(
                f"the data {name!r} lies nowhere", hint="name a path or an address; . is the folder"
            )
        if text.lower().startswith("file://"):
            raise UsageError(f"the data {name!r} is an address of a file", hint="give its path instead")
        if _ADDRESS.fullmatch(text):
            found[name] = Data("uri", text)
        else:
            path = Path(os.path.normpath(folder / text))
            found[name] = fingerprint(io, path, _location(path, worktree), monitor)
    return found


def _location(path: Path, worktree: Path) -> str:
    if path != worktree and path.is_relative_to(worktree):
        place = str(path.relative_to(worktree))
    else:
        place = path.name or "/"
    return os.fsencode(place).decode(errors="replace")
