"""``mvc bundle``."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from mvc.backends.bundle import Need
from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.errors import AnswerIsNo, RepositoryNotFound, UsageError
from mvc.history.refnames import short_ref_name
from mvc.objectid import CommitId
from mvc.ops import bundle as verb
from mvc.text import count, one_line, size

_VERBS = ("create", "verify", "list")


@command(
    "mvc bundle create week-1.bundle main v1.0",
    "mvc bundle create week-2.bundle --all --since v1.0",
    "mvc bundle verify week-2.bundle",
    "mvc fetch week-2.bundle",
    "mvc clone week-1.bundle copy",
    exits=(
        "1 create: whoever has the versions of --since has all of it; verify: versions that it builds on are "
        "not here",
    ),
    data="An object: path, bytes, refs (name, commit), commits, needs (commit, subject). create: also "
    "objects. list and verify: also branch (that a copy begins with), records, lacking (needs that are not "
    "here; null outside of a repository).",
)
def bundle(
    call: Call,
    action: Annotated[str | None, Argument("create|verify|list", "What to do.")] = None,
    file: Annotated[str | None, Argument("FILE", "The bundle.")] = None,
    revisions: Annotated[
        tuple[str, ...],
        Argument("REV", "With create, branches and tags; the current branch if left out."),
    ] = (),
    all: Annotated[bool, Option("--all", "With create, all branches and tags, and the notes.")] = False,
    since: Annotated[
        tuple[str, ...],
        Option(
            "--since", "With create, a version that others have, with all before it; may be repeated.", "REV"
        ),
    ] = (),
    force: Annotated[bool, Option("-f --force", "With create, replace a file that is there.")] = False,
    json: Annotated[bool, Option("--json", "Print what it holds as JSON.")] = False,
) -> None:
    """Put versions into one file, to be carried where no network goes; or tell what such a file holds.

    A bundle is a remote that nobody can change: 'mvc clone', 'mvc fetch' and 'mvc pull' take its path where
    they take an address. Every byte of it is checked before anything of it is taken.

    With --since it holds only what is new since versions that its receiver has, and says which those are;
    'verify' tells whether they are here. What it holds of this repository is what the versions need, under
    the names of the branches and tags given: no settings, no log, no other branches.
    """
    if action not in _VERBS or file is None:
        raise UsageError(f"one of {', '.join(_VERBS)}, and a file", hint="mvc bundle create FILE REV…")
    if action != "create" and (revisions or all or since or force):
        raise UsageError(f"'mvc bundle {action}' takes a file and nothing else")
    if all and revisions:
        raise UsageError("--all is every branch and tag, so it goes with no REV")
    path = call.context.cwd / file
    if action == "create":
        with call.repository.reading() as view:
            made = verb.create(
                call.io, view, path, revisions, call.monitor, every=all, since=since, replace=force
            )
        if json:
            told = _as_json(file, made.bytes, made.refs, made.commits, made.needs)
            call.data({**told, "objects": made.objects})
            return
        line = f"{count(made.commits, 'version')}, {count(made.objects, 'object')}, {size(made.bytes)}"
        call.report(f"{line} in {one_line(file)}")
        _tell_needs(call, made.needs)
        return
    found = _found(call, action, file)
    if json:
        told = _as_json(file, found.bytes, found.refs, found.commits, found.needs)
        lacking = None if found.lacking is None else [_need_json(need) for need in found.lacking]
        call.data({**told, "branch": found.branch, "records": found.records, "lacking": lacking})
    else:
        _tell(call, found)
    if action == "verify":
        if found.lacking:
            missing = len(found.lacking)
            which = "a version that it builds on is" if missing == 1 else f"{missing:,} it builds on are"
            raise AnswerIsNo(
                f"{one_line(file)} is whole, but {which} not here", hint="fetch the bundle before it first"
            )
        if not json:
            call.report(f"{one_line(file)} is whole")


def _found(call: Call, action: str, file: str) -> verb.Contents:
    path = call.context.cwd / file
    look = verb.verify if action == "verify" else verb.contents
    try:
        repository = call.repository
    except RepositoryNotFound:
        return look(call.io, path, call.monitor, None)  # a bundle can be looked at anywhere
    with repository.reading() as view:
        return look(call.io, path, call.monitor, view.objects)


def _tell(call: Call, found: verb.Contents) -> None:
    table = Table([Column("version", colour="yellow"), Column("name")])
    for name, commit in found.refs.items():
        table.add(commit.short, one_line(short_ref_name(name)))
    call.table(table)
    what = f"{count(found.commits, 'version')}, {count(found.records, 'record')}, {size(found.bytes)}"
    call.report(what)
    _tell_needs(call, found.needs, found.lacking)


def _tell_needs(call: Call, needs: Iterable[Need], lacking: Iterable[Need] | None = ()) -> None:
    missing = set(lacking or ())
    for need in needs:
        note = "  (not here)" if need in missing else ""
        call.report(f"builds on {need.commit.short} {one_line(need.subject)}{note}")


def _as_json(
    file: str, total: int, refs: Mapping[str, CommitId], commits: int, needs: Iterable[Need]
) -> dict[str, Any]:
    return {
        "path": file,
        "bytes": total,
        "refs": [{"name": name, "commit": commit.hex()} for name, commit in refs.items()],
        "commits": commits,
        "needs": [_need_json(need) for need in needs],
    }


def _need_json(need: Need) -> dict[str, str]:
    return {"commit": need.commit.hex(), "subject": need.subject}
