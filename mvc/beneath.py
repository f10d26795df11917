"""Opens what lies below a folder, through no link: one call where the kernel has it, else name by name.

A path is checked and then used, and between the two somebody may put a link in the place of a folder. Linux
since 5.6 resolves a whole path without ever following one (``openat2``); elsewhere each folder is opened in
the handle of the one above, and a link in its place refused.
"""

from __future__ import annotations

import errno
import os
import sys

_NUMBER = 437  # of openat2, on every architecture but Alpha
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08  # of <linux/openat2.h>
_RESOLVE = _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
_NOT_THERE = (errno.ENOSYS, errno.EPERM)  # the latter is what some sandboxes answer to calls they do not know
_LINK = (errno.ELOOP, errno.EXDEV)
_TRIES = 8


class Beneath:
    """Opens below a folder. ``one_call`` says whether to try ``openat2``; it is not tried again once the
    kernel has said that there is none."""

    def __init__(self, *, one_call: bool = True) -> None:
        self.one_call = one_call and sys.platform == "linux" and os.uname().machine != "alpha"

    def open(self, top: int, path: str, flags: int) -> int:
        """Open ``path``, names joined by ``/`` of which none is ``..`` or empty, below the folder ``top``.

        Raises:
            NotADirectoryError: a link is in the way, or in its place; or a file in the place of a folder.
            OSError: it cannot be opened, for whatever else.
        """
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            # a single name needs no more than O_NOFOLLOW, and no 5 ms for ctypes
            if self.one_call and "/" in path:
                handle = self._at_once(top, path, flags)
                if handle is not None:
                    return handle
            return _name_by_name(top, path, flags)
        except OSError as error:
            if error.errno in _LINK:
                raise NotADirectoryError(errno.ENOTDIR, "A link is in the way", path) from error
            raise

    def _at_once(self, top: int, path: str, flags: int) -> int | None:
        import ctypes  # see above

        how = (ctypes.c_uint64 * 3)(flags, 0, _RESOLVE)
        call = ctypes.CDLL(None, use_errno=True).syscall
        call.restype = ctypes.c_long
        name = ctypes.c_char_p(os.fsencode(path))
        for _ in range(_TRIES):
            handle = call(
                ctypes.c_long(_NUMBER),
                ctypes.c_int(top),
                name,
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            if handle >= 0:
                return int(handle)
            number = ctypes.get_errno()
            if number in _NOT_THERE:
                self.one_call = False
                return None
            # EAGAIN: something was renamed meanwhile, and the kernel could not be sure
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number), path)
        return None


def _name_by_name(top: int, path: str, flags: int) -> int:
    folder, names = top, path.split("/")
    try:
        for name in names[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            if folder != top:
                os.close(folder)
            folder = below
        return os.open(names[-1], flags, dir_fd=folder)
    finally:
        if folder != top:
            os.close(folder)
