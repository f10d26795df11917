"""``mvc pull``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.merging import CONFLICT, MERGED, merge_result_json, report_merge
from mvc.cli.refs import UPDATES, fetched_json, print_fetched
from mvc.cli.strategies import Density, Scale, Strategy, StrategyFor, Weight, choice_of
from mvc.committing import Request
from mvc.errors import UsageError
from mvc.ops.fetch import FetchRequest
from mvc.ops.pull import PullRequest
from mvc.ops.pull import pull as bring


@command(
    "mvc pull",
    "mvc pull --ff-only",
    "mvc pull origin experiments --strategy average",
    exits=(
        "1 --ff-only was asked for, and both sides have versions of their own",
        "4 files are in conflict, or uncommitted work is in the way",
    ),
    data=f"An object: fetched (remote, url, {UPDATES}, commits, objects, bytes) and merged ({MERGED}).",
)
def pull(
    call: Call,
    remote: Annotated[
        str | None, Argument("REMOTE", "A remote or an address; what the branch follows if left out.")
    ] = None,
    branch: Annotated[str | None, Argument("BRANCH", "Its branch; that of the same name.")] = None,
    ff_only: Annotated[bool, Option("--ff-only", "Only move the branch forward, else refuse.")] = False,
    no_ff: Annotated[
        bool, Option("--no-ff", "Make a merge version even if the branch could move forward.")
    ] = False,
    strategy: Strategy = None,
    strategy_for: StrategyFor = (),
    weight: Weight = None,
    scale: Scale = None,
    density: Density = None,
    prune: Annotated[bool, Option("-p --prune", "Forget branches that the remote has no more.")] = False,
    unrelated: Annotated[
        bool, Option("--allow-unrelated-histories", "Merge what has no version in common.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> int | None:
    """Fetch, then merge the branch that the current one follows into it.

    Without a branch to follow, the one of the same name of 'origin' is meant. Where both sides have versions
    of their own, a merge version joins them, tensor by tensor, without asking for a message; what is in
    conflict ends as in 'mvc merge'. The fetch and the merge are two operations: 'mvc undo' takes back the
    merge, once more the fetch.
    """
    if ff_only and no_ff:
        raise UsageError("--ff-only and --no-ff do not go together")
    choice = choice_of(strategy, strategy_for, weight, scale, density)
    request = PullRequest(
        Request(None, call.author(), call.now()),
        call.remote(remote),
        branch,
        choice,
        "only" if ff_only else "no" if no_ff else "yes",
        unrelated,
        FetchRequest(prune=prune),
    )
    if json:
        done = bring(call.repository, request)
        merged = merge_result_json(done.merged, dry_run=False)
        call.data({"fetched": fetched_json(done.fetched), "merged": merged})
        return CONFLICT if done.merged.conflicts else None
    # what came is here, whatever becomes of the merge
    done = bring(call.repository, request, lambda came: print_fetched(call, came))
    return report_merge(call, done.merged, dry_run=False)
