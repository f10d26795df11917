"""What fingers used to Git type and mvc spells otherwise, or has not: the hint for each."""

from __future__ import annotations

_NO_STAGING = "there is no staging area: a commit takes what is in the folder"
_NO_PATCHES = "there are no patches: mvc cherry-pick takes over versions of the same repository"

COMMANDS = {
    "am": _NO_PATCHES,
    "apply": _NO_PATCHES,
    "archive": "mvc cat REV:PATH > FILE writes a version's file elsewhere",
    "cat-file": "mvc show REV, mvc ls REV, mvc cat REV:PATH",
    "cherry": "mvc log main..BRANCH lists what main lacks",
    "clean": "delete new files yourself; mvc status lists them",
    "count-objects": "mvc stats",
    "describe": "mvc log -n 1 --oneline names a version's branches and tags",
    "for-each-ref": "mvc branch and mvc tag list them; --json for scripts",
    "format-patch": _NO_PATCHES,
    "ls-files": "mvc ls",
    "ls-tree": "mvc ls REV",
    "prune": "mvc gc",
    "rebase": "mvc cherry-pick main..BRANCH takes versions over one by one; mvc merge joins two branches",
    "reflog": "mvc oplog lists what was done, mvc undo takes it back",
    "repack": "mvc gc --repack",
    "rev-list": "mvc log --format=%H",
    "shortlog": "mvc log --format='%an %s'",
    "show-ref": "mvc branch and mvc tag list them; --json for scripts",
    "stash": "mvc switch -c wip, then mvc commit: work kept on a branch; mvc restore --source wip PATH "
    "brings files back",
    "submodule": "a repository is one folder; those inside it are left out",
    "symbolic-ref": "mvc rev-parse --abbrev-ref HEAD",
    "version": "it is an option: mvc --version",
    "whatchanged": "mvc log --stat",
    "worktree": "a repository has one folder; mvc cat REV:PATH > FILE takes files out of another version",
}
"""Commands of Git that are not there, with what does it here."""

_TENSOR_HISTORY = "mvc log -- PATH#TENSOR follows one tensor, mvc grep --all PATTERN finds a word"
_SIDES = "--strategy ours, or theirs, average, ties, …"

OPTIONS = {
    "branch -D": "mvc branch --delete --force NAME",
    "checkout -B": "mvc switch -C NAME REV",
    "checkout --ours": "mvc restore --ours PATH",
    "checkout --theirs": "mvc restore --theirs PATH",
    "cherry-pick -X": _SIDES,
    "commit -a": _NO_STAGING,
    "commit --all": _NO_STAGING,
    "diff --cached": f"{_NO_STAGING}, which mvc diff shows",
    "diff --staged": f"{_NO_STAGING}, which mvc diff shows",
    "gc --aggressive": "mvc gc --best",
    "gc --prune": "mvc gc --expire now",
    "log -L": _TENSOR_HISTORY,
    "log -G": _TENSOR_HISTORY,
    "log -S": _TENSOR_HISTORY,
    "log -p": "mvc log --stat lists the files, mvc diff REV~1 REV compares tensors",
    "log --patch": "mvc log --stat lists the files, mvc diff REV~1 REV compares tensors",
    "merge -X": _SIDES,
    "merge -s": _SIDES,
    "restore --staged": f"{_NO_STAGING}; mvc restore PATH brings back the last version's",
    "revert -X": _SIDES,
    "show -p": "mvc diff REV~1 REV compares tensors",
    "show --stat": "mvc show lists the files; mvc diff REV~1 REV compares tensors",
    "status --porcelain": "mvc status --json",
    "status -s": "mvc diff --name-status is short; mvc status --json is for scripts",
    "status --short": "mvc diff --name-status is short; mvc status --json is for scripts",
}
"""Options of Git that are not there, with what does it here."""
