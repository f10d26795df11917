"""The members of a tar archive: plain files and where their data lies.

Specification: the *ustar* and *pax* interchange formats of POSIX.1 (``pax``). What only says more about the
next member (times, owners) is passed over; a name or length that it would replace is refused.
"""

from __future__ import annotations

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.views import Part

MAX_MEMBERS = 10_000

_BLOCK = 512
_NAME, _SIZE, _CHECKSUM, _TYPE = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_FILES = (b"0", b"\0")
_PAX = (b"x", b"g")
_OTHERS = (b"5",)  # folders
_MAX_PAX_BYTES = 1 << 16


def read_tar(view: View) -> dict[str, Part]:
    """The files of an archive, each as a view of its own; of equal names the later holds.

    Raises:
        NotThisFormat: no archive, a damaged one, one of more than :data:`MAX_MEMBERS`, or with kinds of
            members that are not known here.
    """
    files: dict[str, Part] = {}
    position = 0
    for _ in range(MAX_MEMBERS):
        if position + _BLOCK > view.size:
            raise NotThisFormat("truncated: the tar archive does not end")
        header = view.read(position, _BLOCK)
        if not any(header):
            return files
        size = _octal(header[_SIZE])
        if _octal(header[_CHECKSUM]) != sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
            raise NotThisFormat("a tar header whose checksum is another")
        start = position + _BLOCK
        position = start + -(-size // _BLOCK) * _BLOCK
        if start + size > view.size:
            raise NotThisFormat("truncated: a tar member leaves the file")
        kind = header[_TYPE]
        if kind in _FILES:
            name = header[_NAME].rstrip(b"\0").decode("latin-1")
            files[name] = Part(view, start, size, name)
        elif kind in _PAX:
            _check_pax(Part(view, start, size, "a pax header"))
        elif kind not in _OTHERS:
            raise NotThisFormat("a tar member of a kind that is not known here")
    raise NotThisFormat(f"a tar archive of more than {MAX_MEMBERS} members")


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if len(digits) > len(field) or any(digit not in b"01234567" for digit in digits):
        raise NotThisFormat("a tar header with a malformed number")
    return int(digits or b"0", 8)


def _check_pax(part: Part) -> None:
    if part.size > _MAX_PAX_BYTES:
        raise NotThisFormat(f"a pax header of {part.size} bytes, more than {_MAX_PAX_BYTES}")
    data = part.read(0, part.size)
    if b" size=" in data or b" path=" in data:
        raise NotThisFormat("a pax header that replaces a name or length")
