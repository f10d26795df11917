"""``mvc import``."""

from pathlib import Path
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.text import duration, share
from mvc.context import child_environment
from mvc.errors import RepositoryNotFound, UsageError
from mvc.importing.recognising import KINDS
from mvc.objects import Person
from mvc.ops.import_ import Imported, Wish, import_versions
from mvc.refs import BRANCHES, TAGS
from mvc.repo import STORE, Repository
from mvc.store import exists
from mvc.text import count, one_line, size

_DATES = ("name", "mtime")
_SHOWN = 10


@command(
    "mvc import runs/bert",
    "mvc import ~/src/model model  # a git-lfs or DVC repository, into a new folder",
    "mvc import ~/.cache/huggingface/hub/models--org--name model",
    "mvc import -n ~/src/model",
    exits=("1 with --dry-run: the source lacks objects, so the import would be refused",),
    data="An object: kind (folder, git-lfs, dvc, huggingface), dry_run, new (versions made, or to be made), "
    "known (that were there already), unchanged (whose files only have other dates), files and size (bytes "
    "of what is new, each file once), missing (array), missing_count, left_out (array of path, reason), "
    "left_out_count, notes (array of sentences), read_bytes, stored_bytes, refs (array of name, commit, "
    "outcome: new, moved, same, diverged or kept), written and removed (files of the folder), repository "
    "(its folder, or null), seconds.",
)
def import_(
    call: Call,
    source: Annotated[str, Argument("SOURCE", "A folder.")],
    folder: Annotated[
        str | None, Argument("DIR", "Repository to import into, made where there is none; else this one.")
    ] = None,
    kind: Annotated[
        str | None, Option("--from", "What it is, if mvc should not look.", "folder|git-lfs|dvc|huggingface")
    ] = None,
    branch: Annotated[
        str | None,
        Option(
            "-b --branch",
            "The one of a Git history to take; else the one to put versions on.",
            "NAME",
        ),
    ] = None,
    dry_run: Annotated[bool, Option("-n --dry-run", "Only say what would come.")] = False,
    skip_missing: Annotated[
        bool, Option("--skip-missing", "Go on without objects that the source names and lacks.")
    ] = False,
    date_from: Annotated[
        str | None, Option("--date-from", "Where a checkpoint's date stands.", "mtime|name")
    ] = None,
    fast: Annotated[
        bool, Option("--fast", "Store quickly, not tightly; 'mvc gc --repack' makes up for it.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> int:
    """Take over versions of another tool: a folder of checkpoints, a git-lfs or DVC repository, a model of
    the Hugging Face cache.

    Run again, it takes only what is new; an interrupted one goes on. The source is only read: nothing that it
    names is run, and no network is used.

    Of a folder each checkpoint (checkpoint-500/, step-0060.safetensors) is a version on the current branch,
    in the order of the numbers. Of a Git history branches, tags, parents, authors, dates and messages come
    over, and files are what git-lfs or DVC have for them. Of a model each downloaded snapshot is a version.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"--from {kind!r} is no kind of source", hint=f"one of {', '.join(KINDS)}")
    if date_from is not None and date_from not in _DATES:
        raise UsageError(f"--date-from {date_from!r} is not known", hint=f"one of {', '.join(_DATES)}")
    if "://" in source:
        raise UsageError(
            f"{one_line(source)} is an address, and mvc import uses no network",
            hint="clone or download it, then name the folder",
        )
    wish = Wish(
        (call.context.cwd / source).resolve(),
        kind,
        branch,
        skip_missing=skip_missing,
        dates_from_names=date_from == "name",
        fast=fast,
        environment=child_environment({}),
    )
    place, repository = _place(call, folder, needed=not dry_run)
    done = import_versions(
        call.io,
        place,
        wish,
        _author(call, repository),
        call.now(),
        call.monitor,
        repository=repository,
        dry_run=dry_run,
    )
    if done.repository is not None:
        call.adopt(done.repository)
    if json:
        call.data(_json(done))
    else:
        _report(call, done)
    return 1 if dry_run and done.survey.missing and not skip_missing else 0


def _place(call: Call, folder: str | None, *, needed: bool) -> tuple[Path, Repository | None]:
    """Where to import to, and the repository that is there."""
    if folder is None:
        try:
            return call.repository.worktree, call.repository
        except RepositoryNotFound as error:
            if not needed:
                return call.context.cwd, None
            raise RepositoryNotFound(error.message, hint="mvc import SOURCE DIR makes one in DIR") from None
    place = (call.context.cwd / folder).resolve()
    if not exists(call.io, place / STORE / "format"):
        return place, None
    repository = Repository.open(call.io, place, call.monitor)
    call.adopt(repository)
    return place, repository


def _author(call: Call, repository: Repository | None) -> Person:
    if repository is not None:
        return call.author()
    return call.context.author([call.global_config()], ask_git=True).person


def _report(call: Call, done: Imported) -> None:
    found = done.survey
    for path, why in found.left_out[:_SHOWN]:
        call.monitor.warn(f"left out: {one_line(path)} {one_line(why)}")
    if found.left_out_count > _SHOWN:
        call.monitor.warn(f"left out: {found.left_out_count - _SHOWN:,} more; --json names them")
    for note in done.notes:
        call.monitor.warn(one_line(note))
    if found.missing:
        named = found.missing if done.dry_run else found.missing[:_SHOWN]
        for text in named:
            call.monitor.warn(f"missing: {one_line(text)}")
        if found.missing_count > len(named):
            call.monitor.warn(f"missing: {found.missing_count - len(named):,} more")
    if done.dry_run:
        call.print(
            f"{done.kind}: {count(found.versions, 'new version')} with {count(found.files, 'file')}, "
            f"{size(found.size)}; {found.known:,} here already"
        )
        return
    already = f"; {found.known + done.unchanged:,} here already" if found.known + done.unchanged else ""
    if not done.new:
        call.report(f"nothing new in {one_line(done.kind)}{already}")
    else:
        told = done.read_bytes > 0 and done.stored_bytes < 2 * done.read_bytes
        ratio = f" ({share(done.stored_bytes / done.read_bytes)})" if told else ""
        call.report(
            f"imported {count(done.new, 'version')} from {done.kind}{already}: {size(done.read_bytes)} read, "
            f"{size(done.stored_bytes)} stored{ratio} in {duration(done.seconds)}"
        )
    for one in done.refs:
        name, where = one_line(_short(one.ref)), one.target.short
        if one.outcome in ("new", "moved"):
            call.report(f"{_word(one.ref)} {name} is at {where}")
        elif one.outcome == "diverged":
            call.monitor.warn(f"branch {name} has versions of its own, so what was imported is import/{name}")
            call.hint(f"mvc merge import/{name}")
        elif one.outcome == "kept":
            call.monitor.warn(f"tag {name} is somewhere else here, and stays there")
    if done.created and done.repository is not None:
        call.report(f"made a repository in {done.repository.store}")


def _short(ref: str) -> str:
    return ref.removeprefix(BRANCHES).removeprefix(TAGS)


def _word(ref: str) -> str:
    return "tag" if ref.startswith(TAGS) else "branch"


def _json(done: Imported) -> dict[str, Any]:
    found = done.survey
    return {
        "kind": done.kind,
        "dry_run": done.dry_run,
        "new": found.versions if done.dry_run else done.new,
        "known": found.known,
        "unchanged": done.unchanged,
        "files": found.files,
        "size": found.size,
        "missing": [one_line(text) for text in found.missing],
        "missing_count": found.missing_count,
        "left_out": [{"path": one_line(path), "reason": one_line(why)} for path, why in found.left_out],
        "left_out_count": found.left_out_count,
        "notes": [one_line(note) for note in done.notes],
        "read_bytes": done.read_bytes,
        "stored_bytes": done.stored_bytes,
        "refs": [
            {"name": one_line(one.ref), "commit": one.target.hex(), "outcome": one.outcome}
            for one in done.refs
        ],
        "written": done.written,
        "removed": done.removed,
        "repository": None if done.repository is None else one_line(str(done.repository.worktree)),
        "seconds": done.seconds,
    }
