"""What people write to name a store: a path, ``file://``, ``s3://``, ``gs://``, ``az://``, ``memory://``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from mvc.backends.base import check_key
from mvc.backends.buckets import SCHEMES
from mvc.errors import InvalidName, UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_MEMORY = re.compile(r"[A-Za-z0-9._-]{1,100}")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]?.*", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PASSWORD = re.compile(r"(?://)?[^/]*:[^/]*@", re.DOTALL)
_PASSWORD_OF = re.compile(r"(?<=://)[^@]*@|^[^/:]*:[^@]*@", re.DOTALL)
_HINT = "an address is a path, file:///PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, or a file, by its absolute path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, or the part of it below a prefix."""

    scheme: str
    name: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True, slots=True)
class Memory:
    """A store in this process's memory."""

    name: str

    def __str__(self) -> str:
        return f"memory://{self.name}"


Address = Folder | Bucket | Memory


def settled(text: str, base: Path) -> str:
    """The normal form of an address as it was typed at ``base``, the current folder (in which no part is a
    link): leading ``..`` lead upwards from there.

    Raises:
        UserError: it is none.
    """
    here = base
    rest = text
    while _SCHEME.fullmatch(text) is None and (rest == ".." or rest.startswith(("../", "./"))):
        head, _, rest = rest.partition("/")
        here = here.parent if head == ".." else here
        rest = rest.lstrip("/") or "."
    return str(parse_address(rest, here))


def parse_address(text: str, base: Path) -> Address:
    """What an address names; relative paths begin at ``base``. ``str()`` of it is the normal form.

    Raises:
        UserError: it is none. The message never repeats what may be a password.
    """
    if not text.strip() or _CONTROL.search(text):
        raise UserError("an address is empty or has control characters", hint=_HINT)
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _path(text, base)
    scheme, rest = match[1].lower(), match[2]
    # a password may have a slash in it; below file:// only what stands before the path can be one
    if "@" in (rest.split("/", 1)[0] if scheme == "file" else rest):
        raise _has_password()
    if scheme == "file":
        return _file(rest)
    if scheme == "memory":
        if not _MEMORY.fullmatch(rest):
            raise UserError(f"{text!r} names no store in memory", hint="memory://NAME")
        return Memory(rest)
    if scheme in SCHEMES:
        return _bucket(scheme, rest)
    raise UserError(f"mvc knows no {scheme}:// stores", hint=_HINT)


def refuse_password(text: str) -> None:
    """Refuse a word that looks like ``USER:PASSWORD@HOST``, before any message repeats it.

    Raises:
        UserError: it does.
    """
    if _PASSWORD.match(text):
        raise _has_password()


def masked(address: str) -> str:
    """An address as it may be shown: one that somebody wrote into the settings may have a password in it."""
    return _PASSWORD_OF.sub("…@", address)


def _has_password() -> UserError:
    return UserError(
        "an address must not have a user's name or password in it",
        hint="credentials come from the environment, or from the platform's own files",
    )


def _path(text: str, base: Path) -> Folder:
    refuse_password(text)
    if "\\" in text or (_DRIVE.fullmatch(text) and text[1:2] == ":"):
        raise UserError(f"{text!r} looks like a path of Windows", hint=f"{_HINT}; ./ before an odd name")
    head = text.split("/", 1)[0]
    if ":" in head:
        raise UserError(
            f"{text!r} looks like a host and a path, and mvc does not speak ssh",
            hint=f"{_HINT}; ./ before a name with a colon",
        )
    return Folder(_normal(base / text))


def _file(rest: str) -> Folder:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise UserError(
            f"'file://{rest}' names no path on this machine", hint="file:/// and an absolute path"
        )
    path = unquote("/" + path)
    if _CONTROL.search(path) or _DRIVE.fullmatch(path[1:]) or "\\" in path:
        raise UserError(f"'file://{rest}' names no path on this machine", hint=_HINT)
    return Folder(_normal(Path(path)))


def _normal(path: Path) -> Path:
    """Without ``.``, doubled and trailing slashes. ``..`` stays: what it leads to only the disk knows."""
    return Path(PurePosixPath(path))


def _bucket(scheme: str, rest: str) -> Bucket:
    if any(sign in rest for sign in "?#%\\"):
        raise UserError(f"an {scheme} address has no ?, #, % or backslash in it", hint=_HINT)
    name, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(name) or ".." in name:
        raise UserError(f"{name!r} is no bucket's name", hint=_HINT)
    prefix = "/".join(part for part in prefix.split("/") if part)
    if prefix:
        try:
            check_key(prefix)
        except InvalidName:
            raise UserError(
                f"{prefix!r} is no prefix of a store",
                hint="use letters, digits, '-', '_' and '.', no name beginning with a dot",
            ) from None
    return Bucket(scheme, name, prefix)
