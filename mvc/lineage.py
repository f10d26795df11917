"""What a commit records of where it came from: data, code, environment (docs/format.md, *Commit*).

Each part is optional, and so is everything in it; keys that this mvc does not know are kept verbatim. What is
missing is absent, never nil, so that a part has one encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from mvc.errors import CorruptObject
from mvc.redaction import redact_value

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Data:
    """What a version was trained or tested on.

    ``kind`` is ``file``, ``folder`` or ``uri`` (or what a newer mvc calls it), ``location`` a path or an
    address. For a file ``blake3`` is the BLAKE3-256 of its bytes; for a folder that of a list of its files
    (:mod:`mvc.fingerprint`), with their number in ``files``. ``size`` is in bytes. An address is not
    followed, so nothing more is known of it.
    """

    kind: str
    location: str
    size: int | None = None
    files: int | None = None
    blake3: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_value(self) -> dict[str, Any]:
        """The map that stands in the commit."""
        return _map(
            self.extra,
            kind=self.kind,
            location=self.location,
            size=self.size,
            files=self.files,
            blake3=self.blake3,
        )

    def redacted(self) -> Self:
        """The same without secrets."""
        return self.from_value(redact_value("data", self.to_value()))

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse one entry of the commit's ``data``.

        Raises:
            CorruptObject: it has not the form that docs/format.md gives.
        """
        known, extra = _split(value, "data", ("kind", "location", "size", "files", "blake3"))
        digest = known.get("blake3")
        if "blake3" in known and (type(digest) is not bytes or len(digest) != DIGEST_BYTES):
            _damaged("data", f"blake3 is not {DIGEST_BYTES} bytes")
        if "kind" not in known or "location" not in known:
            _damaged("data", "an entry lacks its kind or location")
        return cls(
            kind=_text(known, "data", "kind") or "",
            location=_text(known, "data", "location") or "",
            size=_count(known, "data", "size"),
            files=_count(known, "data", "files"),
            blake3=digest,
            extra=extra,
        )


@dataclass(frozen=True, slots=True)
class Code:
    """The Git repository that the work tree lies in: its commit (hexadecimal), whether tracked files
    differed from it (None: not known), its branch, and where its ``origin`` is."""

    commit: str
    dirty: bool | None = None
    branch: str | None = None
    remote: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_value(self) -> dict[str, Any]:
        """The map that stands in the commit."""
        return _map(self.extra, commit=self.commit, dirty=self.dirty, branch=self.branch, remote=self.remote)

    def redacted(self) -> Self:
        """The same without secrets."""
        return self.from_value(redact_value("code", self.to_value()))

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse the commit's ``code``.

        Raises:
            CorruptObject: it has not the form that docs/format.md gives.
        """
        known, extra = _split(value, "code", ("commit", "dirty", "branch", "remote"))
        if "commit" not in known:
            _damaged("code", "it lacks its commit")
        if type(known.get("dirty", False)) is not bool:
            _damaged("code", "dirty is not a boolean")
        return cls(
            commit=_text(known, "code", "commit") or "",
            dirty=known.get("dirty"),
            branch=_text(known, "code", "branch"),
            remote=_text(known, "code", "remote"),
            extra=extra,
        )


_ENVIRONMENT = ("of", "python", "implementation", "system", "release", "machine", "mvc")


@dataclass(frozen=True, slots=True)
class Environment:
    """What a version was committed under.

    ``of`` says whose Python and packages these are: those of the ``interpreter`` that ran mvc, or of the
    ``virtualenv`` or ``conda`` environment that was active. ``packages`` has versions of machine learning
    frameworks by name.
    """

    of: str | None = None
    python: str | None = None
    implementation: str | None = None
    system: str | None = None
    release: str | None = None
    machine: str | None = None
    mvc: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_value(self) -> dict[str, Any]:
        """The map that stands in the commit."""
        texts = {name: getattr(self, name) for name in _ENVIRONMENT}
        return _map(self.extra, **texts, packages=dict(self.packages) or None)

    def redacted(self) -> Self:
        """The same without secrets."""
        return self.from_value(redact_value("environment", self.to_value()))

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse the commit's ``environment``.

        Raises:
            CorruptObject: it has not the form that docs/format.md gives.
        """
        known, extra = _split(value, "environment", (*_ENVIRONMENT, "packages"))
        packages = known.get("packages", {})
        if not isinstance(packages, dict) or not all(type(item) is str for item in packages.values()):
            _damaged("environment", "packages is not a map of texts")
        if "packages" in known and not packages:
            _damaged("environment", "packages is empty")
        texts = {name: _text(known, "environment", name) for name in _ENVIRONMENT}
        return cls(**texts, packages=packages, extra=extra)


def data_to_value(data: Mapping[str, Data]) -> dict[str, Any]:
    """All of a commit's data, by name."""
    return {name: item.to_value() for name, item in data.items()}


def data_from_value(value: Any) -> dict[str, Data]:
    """Parse a commit's ``data``.

    Raises:
        CorruptObject: it has not the form that docs/format.md gives.
    """
    if not isinstance(value, dict) or not value:
        _damaged("data", "it is not a map, or an empty one")
    return {name: Data.from_value(item) for name, item in value.items()}


# --- fields ------------------------------------------------------------------------------------------------
def _map(extra: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    return {**extra, **{name: value for name, value in known.items() if value is not None}}


def _split(value: Any, what: str, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of a map and what is not; a known key that says nothing is damage."""
    if not isinstance(value, dict):
        _damaged(what, "it is not a map")
    known = {name: item for name, item in value.items() if name in names}
    if None in known.values():
        _damaged(what, "a part is nil")
    return known, {name: item for name, item in value.items() if name not in names}


def _text(known: Mapping[str, Any], what: str, name: str) -> str | None:
    value = known.get(name)
    if value is not None and type(value) is not str:
        _damaged(what, f"{name} is not text")
    return value


def _count(known: Mapping[str, Any], what: str, name: str) -> int | None:
    value = known.get(name)
    if value is not None and (type(value) is not int or value < 0):
        _damaged(what, f"{name} is not a count")
    return value


def _damaged(what: str, why: str) -> NoReturn:
    raise CorruptObject(f"{what} of a commit: {why}")
