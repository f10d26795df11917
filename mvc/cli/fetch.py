"""``mvc fetch``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.refs import UPDATES, fetched_json, print_fetched, refused
from mvc.errors import UsageError
from mvc.ops.fetch import FetchRequest, fetch_all
from mvc.ops.fetch import fetch as bring
from mvc.remotes.filters import parse_filter


@command(
    "mvc fetch",
    "mvc fetch origin main:try --dry-run",
    "mvc fetch --all --prune",
    "mvc fetch --unshallow",
    exits=("4 a ref that was named stayed where it was",),
    data=f"An array with an object for each remote: remote (null for an address), url, {UPDATES}, commits, "
    "objects, bytes (of what was missing), dry_run.",
)
def fetch(
    call: Call,
    remote: Annotated[
        str | None, Argument("REMOTE", "A remote or an address; the branch's own, or origin, if left out.")
    ] = None,
    refspecs: Annotated[
        tuple[str, ...], Argument("REFSPEC", "What to fetch: BRANCH, TAG, or [+]THERE:HERE.")
    ] = (),
    all_: Annotated[bool, Option("--all", "Fetch from every remote.")] = False,
    prune: Annotated[bool, Option("-p --prune", "Forget branches that the remote has no more.")] = False,
    tags: Annotated[bool, Option("-t --tags", "Bring all tags, not only those of what comes.")] = False,
    no_tags: Annotated[bool, Option("--no-tags", "Bring no tags.")] = False,
    depth: Annotated[
        int | None, Option("--depth", "As many versions of each line of history as that, old ones too.", "N")
    ] = None,
    unshallow: Annotated[bool, Option("--unshallow", "Bring the history that a depth left out.")] = False,
    filter_: Annotated[
        tuple[str, ...],
        Option("--filter", "Only what fits path:PATTERN or tensor:PATTERN, from now on.", "PATTERN"),
    ] = (),
    dry_run: Annotated[bool, Option("-n --dry-run", "Only say what would come.")] = False,
    json: Annotated[bool, Option("--json", "Print what came as a JSON array.")] = False,
) -> int | None:
    """Bring what another store has and this repository lacks; the folder and your branches stay.

    Its branches are followed as REMOTE/BRANCH. One that was rewound there is said to be so, with where it
    was. Tags of the versions that come along come too; one that names something else here stays. Notes are
    joined. What arrived before a cut need not come again. Of a store that was cloned in part, the same part
    comes.
    """
    if tags and no_tags:
        raise UsageError("--tags and --no-tags do not go together")
    if depth is not None and unshallow:
        raise UsageError("--depth and --unshallow do not go together")
    request = FetchRequest(
        refspecs,
        prune,
        "all" if tags else "none" if no_tags else "follow",
        filter=parse_filter(filter_, depth),
        unshallow=unshallow,
        dry_run=dry_run,
    )
    if all_:
        if remote is not None:
            raise UsageError("--all takes no remote: it means every one")
        done = list(fetch_all(call.repository, request, call.who(), call.now()))
    else:
        done = [bring(call.repository, call.remote(remote), request, call.who(), call.now())]
    if json:
        call.data([fetched_json(one) for one in done])
    else:
        for one in done:
            print_fetched(call, one)
    return refused(one for fetched in done for one in fetched.updates)
