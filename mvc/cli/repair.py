"""``mvc repair``."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.damage import block
from mvc.cli.declare import Option, command
from mvc.errors import DamageError
from mvc.history.refnames import short_ref_name
from mvc.ops.repair import Repaired, Request
from mvc.ops.repair import repair as bring_back
from mvc.repo import Repository
from mvc.text import count, one_line

_MOST_SOURCES = 10


@command(
    "mvc repair -n",
    "mvc repair",
    "mvc repair --from /backup/model",
    exits=("4 a gc, a purge or another repair is running", "5 something stays lost"),
    data="An object: dry_run; sound (everything is there and sound now); told (what was wrong with root, "
    "refs, operation log and index, what was done, and which refs came from a copy); "
    "restored: kind, id, source (a path, a copy; "
    "empty: another record in the store); recovered (new branches, each with the id of "
    "its version, which had lost its name or the way to it); "
    "aside (files put into .mvc/damaged); lost, as 'damaged' of mvc fsck; remaining: what, how, needed_by, "
    "object.",
)
def repair(
    call: Call,
    copies: Annotated[
        tuple[str, ...],
        Option("--from", "Another copy of the repository, or of its .mvc; may be given again.", "FOLDER"),
    ] = (),
    dry_run: Annotated[bool, Option("-n --dry-run", "Change nothing; tell what would come back.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> int:
    """Bring back what is damaged or missing, from whatever copy there is.

    It looks for other records in the store, for files of the folder that hold what is lost, and in other
    copies: those that --from names, and remotes. A damaged root, list of refs, operation log
    or index is built anew; versions that have lost their names, or the way to them, become branches
    recovered/1 and so on. Where root was lost, a branch that is ahead in a copy that --from names is taken.

    Nothing is thrown away: damaged files go into .mvc/damaged and stay there. Running it twice does no harm.
    """
    call.adopt(Repository.salvage(call.io, call.context.cwd, call.monitor))
    folders = tuple(call.context.cwd / folder for folder in copies)
    done = bring_back(call.repository, Request(call.who(), call.now(), folders, dry_run))
    code = 0 if done.sound else DamageError.exit_code
    if json:
        call.data({**asdict(done), "sound": done.sound})
        return code
    for line in _told(done):
        call.report(line)
    for item in done.lost:
        head, *rest = block(item)
        call.print("")
        call.print(call.paint(head, "red"))
        for line in rest:
            call.print(line)
    for damage in done.remaining:
        needed = f" (needed by {damage.needed_by})" if damage.needed_by else ""
        call.print(call.paint(one_line(f"{damage.what}: {damage.how}{needed}"), "red"))
    for line in _verdict(done):
        call.report(line)
    return code


def _told(done: Repaired) -> Iterator[str]:
    would = "would come" if done.dry_run else "came"
    yield from map(one_line, done.told)
    sources = Counter(item.source for item in done.restored)
    for source, number in sources.most_common(_MOST_SOURCES):
        yield one_line(f"{count(number, 'object')} {would} back from {source or 'elsewhere in the store'}")
    if len(sources) > _MOST_SOURCES:
        yield f"and more from {count(len(sources) - _MOST_SOURCES, 'other place')}; --json lists them"
    for name, identity in done.recovered.items():
        yield f"version {identity[:12]} had lost its name or the way to it: branch {short_ref_name(name)}"
    if done.aside:
        verb = "would go" if done.dry_run else "went"
        yield f"{count(len(done.aside), 'damaged file')} {verb} into .mvc/damaged"


def _verdict(done: Repaired) -> Iterator[str]:
    if not done.sound:
        yield f"{count(len(done.lost), 'object')} cannot be brought back from here; what else may help:"
        yield "another copy of the repository: mvc repair --from FOLDER"
        yield "a copy of a file named above: put it into the folder, under any name, and repair again"
        yield "to be rid of versions that are lost for good: mvc purge REV"
    elif not done.did_something:
        yield "everything is there and sound; nothing to repair"
    elif done.dry_run:
        yield "all of it would be sound again"
    else:
        yield "everything is there and sound again"
        if done.aside:
            yield "once you are sure of that, .mvc/damaged may be deleted"
