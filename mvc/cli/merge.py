"""``mvc merge``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.conflicts import tell_taken_back
from mvc.cli.declare import Argument, Option, command
from mvc.cli.given import Metrics, Params, metrics, params
from mvc.cli.merging import CONFLICT, MERGED, merge_result_json, report_merge
from mvc.cli.strategies import Density, Scale, Strategy, StrategyFor, Weight, choice_of
from mvc.committing import Request
from mvc.errors import UsageError
from mvc.ops import merge as verb
from mvc.ops.merge import MergeRequest


@command(
    "mvc merge side",
    "mvc merge --strategy average --weight 0.3 run-b",
    "mvc merge --strategy ties --density 0.2 --strategy-for 'lm_head.*=ours' run-b",
    "mvc merge --dry-run --json side",
    "mvc merge --continue",
    exits=(
        "1 --ff-only was asked for, and it is not one",
        "4 files are in conflict, or uncommitted work is in the way",
    ),
    data=f"An object: {MERGED}. For --abort: commit, written, removed.",
)
def merge(
    call: Call,
    revision: Annotated[str | None, Argument("REV", "What to merge; - is the previous branch.")] = None,
    message: Annotated[
        tuple[str, ...], Option("-m --message", "Message of the merge; several make paragraphs.", "TEXT")
    ] = (),
    ff_only: Annotated[bool, Option("--ff-only", "Only move the branch forward, else refuse.")] = False,
    no_ff: Annotated[
        bool, Option("--no-ff", "Make a merge version even if the branch could move forward.")
    ] = False,
    strategy: Strategy = None,
    strategy_for: StrategyFor = (),
    weight: Weight = None,
    scale: Scale = None,
    density: Density = None,
    metric: Metrics = (),
    param: Params = (),
    no_commit: Annotated[
        bool, Option("--no-commit", "Leave it to be concluded, even without conflicts.")
    ] = False,
    squash: Annotated[bool, Option("--squash", "The same, and what concludes it has one parent.")] = False,
    unrelated: Annotated[
        bool, Option("--allow-unrelated-histories", "Merge what has no version in common.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", "Only say what would happen.")] = False,
    continue_: Annotated[
        bool, Option("--continue", "Conclude the merge whose conflicts are resolved.")
    ] = False,
    abort: Annotated[bool, Option("--abort", "Take back the merge that is under way.")] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> int | None:
    """Merge another branch or version into the current branch.

    A file, and in weights a tensor, that one side changed is that side's. Texts that both changed are merged
    by lines, JSON by keys, tensors by a strategy: ours, theirs, average, task-arithmetic, ties, slerp; other
    files with ours or theirs. What remains is in conflict: HEAD stays, the files are left in the folder,
    texts with markers. Edit or replace them, or choose with 'mvc restore --ours|--theirs PATH', then
    --continue; with a strategy, that settles the rest. --abort takes all back; so does 'mvc undo'.

    A merge that stands for a fast-forward moves the branch and makes no version.
    """
    if sum((continue_, abort, revision is not None)) != 1:
        raise UsageError("a merge takes one revision, or --continue, or --abort", hint="mvc merge BRANCH")
    begins = (ff_only, no_ff, no_commit, squash, unrelated, dry_run)
    if (continue_ or abort) and any(begins):
        raise UsageError("--continue and --abort take no option that says how a merge begins")
    if abort:
        back = verb.abort(call.repository, call.who(), call.now())
        tell_taken_back(call, "merge", back, json=json)
        return None
    if ff_only and (no_ff or squash):
        raise UsageError("--ff-only goes neither with --no-ff nor with --squash")
    if message and not "".join(message).strip():
        raise UsageError("the message is empty", hint="leave -m out for the usual one")
    choice = choice_of(strategy, strategy_for, weight, scale, density)
    request = Request(
        "\n\n".join(message) if message else None,
        call.author(),
        call.now(),
        metrics=dict(metrics(metric)),
        params=dict(params(param)),
    )
    if continue_:
        done = verb.conclude_merge(call.repository, request, choice)
    else:
        wanted = MergeRequest(
            revision or "",
            request,
            choice,
            "only" if ff_only else "no" if no_ff else "yes",
            not no_commit,
            squash,
            unrelated,
            dry_run,
        )
        done = verb.merge(call.repository, wanted)
    if json:
        call.data(merge_result_json(done, dry_run=dry_run))
        return CONFLICT if done.conflicts else None
    return report_merge(call, done, dry_run=dry_run)
