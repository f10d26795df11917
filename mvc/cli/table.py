"""The commands there are, with the line that the overview shows; their modules are imported one at a time."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from mvc.cli.declare import Command


class Row(NamedTuple):
    """A command: the overview's group and what the command does."""

    group: str
    summary: str


COMMANDS: dict[str, Row] = {
    "init": Row("start", "Make a repository"),
    "demo": Row("start", "Play the whole story on a model made on the spot"),
    "estimate": Row("start", "Tell what a folder of checkpoints would cost, and who was made from whom"),
    "status": Row("look", "Show what a commit would record"),
    "diff": Row("look", "Show what differs, down to the tensors"),
    "log": Row("look", "Show history, newest first"),
    "show": Row("look", "Show one version and what it changed"),
    "ls": Row("look", "List a version's files or tensors"),
    "cat": Row("look", "Write a file or tensor of a version to standard output"),
    "blame": Row("look", "Show which version last changed each tensor or line of a file"),
    "grep": Row("look", "Find an expression in names, metadata and messages"),
    "bisect": Row("look", "Find the version, or the tensors, that made things worse"),
    "merge-base": Row("look", "Find the version in which lines of history met"),
    "rev-parse": Row("look", "Print the ids of what revisions name"),
    "commit": Row("change", "Snapshot the folder as a new version"),
    "checkout": Row("change", "Bring a version, or files of it, back into the folder"),
    "switch": Row("change", "Go to another branch"),
    "restore": Row("change", "Bring files back from a version, without asking"),
    "merge": Row("change", "Merge another branch, down to the tensors"),
    "cherry-pick": Row("change", "Apply what single versions changed"),
    "revert": Row("change", "Take back what single versions changed, as new versions"),
    "reset": Row("change", "Move the current branch to another version"),
    "branch": Row("change", "List, create, rename or delete branches"),
    "tag": Row("change", "List, create or delete tags"),
    "notes": Row("change", "Add metrics and words to a version after it was made"),
    "undo": Row("change", "Take back what a command did"),
    "oplog": Row("change", "List what commands did, and go back to any of it"),
    "remote": Row("share", "List, add, look at or forget other stores"),
    "push": Row("share", "Bring another store what is here"),
    "fetch": Row("share", "Bring what other stores have, without touching the folder"),
    "pull": Row("share", "Fetch, and merge into the current branch"),
    "clone": Row("share", "Copy a store into a new repository"),
    "bundle": Row("share", "Put versions into one file, or tell what such a file holds"),
    "import": Row("share", "Take over versions from a folder, git-lfs, DVC or Hugging Face"),
    "export": Row("share", "Bring a version out: a folder, a tar archive, safetensors"),
    "stats": Row("care", "Show what is stored and what it costs"),
    "fsck": Row("care", "Check that everything stored is there and sound"),
    "repair": Row("care", "Bring back what is damaged, from whatever copy there is"),
    "gc": Row("care", "Throw away what nothing needs, and keep the store small"),
    "purge": Row("care", "Take a version, file or tensor out for good"),
    "config": Row("care", "Read and change settings"),
    "doctor": Row("care", "Check this installation, this machine and this repository"),
    "completion": Row("care", "Print a shell's completion script"),
}
GROUPS = {"start": "Start", "look": "Look", "change": "Change", "share": "Share", "care": "Care"}

NO_STAGING = ("add", "rm", "mv")
"""Commands of Git that have nothing to do here."""


def load(name: str) -> Command:
    """A command by its name."""
    # a command may be called what no Python name may be
    module = name.replace("-", "_") + ("_" if name in ("import",) else "")
    found = getattr(import_module(f"mvc.cli.{module}"), module)
    if not isinstance(found, Command):
        raise TypeError(f"mvc.cli.{module} declares no command")
    return found
