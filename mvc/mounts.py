"""Which kind of file system a folder lies on, and whether other machines may be using it at the same time."""

from __future__ import annotations

import os
from pathlib import Path

from mvc.fileio import FileIO

MOUNTS = Path("/proc/self/mountinfo")
_MOST_BYTES = 4 << 20

_OF_NETWORKS = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
        "wekafs",
    }
)


def file_system_type(io: FileIO, path: Path) -> str:
    """The type as the kernel names it (``nfs4``, ``fuse.sshfs``, ``ext4``); empty where it cannot be asked.

    Source: proc_pid_mountinfo(5).

    Raises:
        OSError: the path cannot be looked at.
    """
    device = io.stat(path).st_dev
    try:
        handle = io.open_read(MOUNTS)
    except OSError:
        return ""  # no such file outside Linux
    try:
        text = io.read_at(handle, _MOST_BYTES, 0).decode("utf-8", "surrogateescape")
    finally:
        io.close(handle)
    return type_in(text, os.path.realpath(path), f"{os.major(device)}:{os.minor(device)}")


def type_in(mounts: str, path: str, device: str) -> str:
    """The type of the mount that a path lies on, from the text of ``mountinfo``.

    The mount's device should be the path's; where none is (btrfs gives subvolumes other numbers), the mount
    with the longest matching name counts.
    """
    best = ("", "", False)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        place = _unescaped(fields[4])
        if place != "/" and path != place and not path.startswith(f"{place}/"):
            continue
        same = fields[2] == device
        # a later mount over the same place hides the earlier one
        if (same, len(place)) >= (best[2], len(best[0])):
            best = (place, kind, same)
    return best[1]


def is_shared_type(kind: str) -> bool:
    """Whether several machines may have a file system of this type mounted at once.

    ``fuse.NAME`` counts as shared: who serves it is not known. ``fuseblk`` is a disk of this machine.
    """
    return kind in _OF_NETWORKS or kind.startswith("fuse.")


def _unescaped(text: str) -> str:
    """Blanks, tabs, newlines and backslashes are written as three octal digits."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text
