"""``mvc clone``."""

from pathlib import PurePosixPath
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.refs import UPDATES, fetched_json
from mvc.errors import UsageError
from mvc.ops.clone import CloneRequest
from mvc.ops.clone import clone as copy
from mvc.remotes.filters import parse_filter
from mvc.sharing.settings import ORIGIN
from mvc.text import count, one_line, size

_ENDINGS = (".mvc", ".bundle", ".mvcb")


@command(
    "mvc clone /srv/models/bert",
    "mvc clone s3://models/bert bert",
    "mvc clone -b experiments --depth 1 s3://models/bert",
    "mvc clone --filter 'path:*.json' s3://models/bert small",
    exits=("3 there is no store at the address, it cannot be reached, or the folder is not empty",),
    data=f"An object: path, branch (null on a tag), commit (null of an empty store), written (count of "
    f"files), resumed, remote, url, {UPDATES}, commits, objects, bytes.",
)
def clone(
    call: Call,
    address: Annotated[str, Argument("ADDRESS", "A folder, s3://BUCKET/PREFIX, or a bundle.")],
    folder: Annotated[str | None, Argument("DIR", "Where to; named after the address if left out.")] = None,
    branch: Annotated[
        str | None, Option("-b --branch", "Check this branch or tag out, not the one it names.", "NAME")
    ] = None,
    origin: Annotated[
        str | None, Option("-o --origin", "What the remote is called; origin if left out.", "NAME")
    ] = None,
    depth: Annotated[
        int | None, Option("--depth", "Only so many versions of each line of history.", "N")
    ] = None,
    filter_: Annotated[
        tuple[str, ...],
        Option("--filter", "Only what fits path:PATTERN or tensor:PATTERN; may be repeated.", "PATTERN"),
    ] = (),
    bundle: Annotated[
        str | None, Option("--bundle", "Take what this bundle has first.", "FILE_OR_ADDRESS")
    ] = None,
    no_checkout: Annotated[bool, Option("-n --no-checkout", "Write no files.")] = False,
    no_tags: Annotated[bool, Option("--no-tags", "Bring no tags.")] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> None:
    """Copy a store, or another repository, into a new repository.

    The copy has a remote 'origin', which 'mvc pull' and 'mvc push' mean from then on; its branches are
    origin/main and so on. A clone that was cut short goes on where it stopped when the same command is run
    again.

    With --filter only the files that a path: pattern takes lie in the folder, and other pieces are fetched
    when they are read; 'mvc checkout -- PATH' brings a file. With --depth history ends after so many
    versions.
    """
    if folder == "":
        raise UsageError("the folder's name is empty", hint="mvc clone ADDRESS DIR")
    name = _name_of(address) if folder is None else folder
    place = (call.context.cwd / name).resolve()
    request = CloneRequest(
        branch,
        ORIGIN if origin is None else origin,
        parse_filter(filter_, depth),
        bundle,
        not no_checkout,
        not no_tags,
    )
    who = call.context.author([call.global_config()], ask_git=True).person
    done = copy(
        call.io,
        address,
        place,
        call.monitor,
        request,
        who,
        call.now(),
        base=call.context.cwd,
        environment=call.context.store_environment,
    )
    call.adopt(done.repository)
    if json:
        call.data(
            {
                "path": str(place),
                "branch": done.branch,
                "commit": None if done.commit is None else done.commit.hex(),
                "written": done.written,
                "resumed": done.resumed,
                **fetched_json(done.fetched),
            }
        )
        return
    came = f"{count(done.fetched.commits, 'version')}, {size(done.fetched.bytes)}"
    if done.commit is None:
        call.report(f"copied an empty store into {one_line(name)}: the first commit is still to come")
    else:
        where = "" if done.branch is None else f" on {one_line(done.branch)}"
        again = ", going on where an earlier try stopped" if done.resumed else ""
        call.report(f"cloned into {one_line(name)}: {came}{again}; {done.commit.short}{where}")
        if request.filter.leaves_pieces_out and request.checkout:
            laid = count(done.written, "file lies", "files lie")
            call.report(f"{laid} in the folder; 'mvc checkout -- PATH' brings others")


def _name_of(address: str) -> str:
    """The folder that a copy goes to where nobody says: the last part of the address."""
    path = PurePosixPath(address.partition("://")[2] or address)
    name = path.parent.name if path.name == ".mvc" else path.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending) or name
    if name in ("", ".", ".."):
        raise UsageError(f"{address!r} gives the copy no name", hint="mvc clone ADDRESS DIR")
    return name
