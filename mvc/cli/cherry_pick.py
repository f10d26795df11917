"""``mvc cherry-pick``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Option, command
from mvc.cli.picks import (
    EXITS,
    JSON,
    Abort,
    AllowEmpty,
    Continue,
    Mainline,
    NoCommit,
    Revisions,
    Skip,
    run,
)
from mvc.cli.strategies import Density, Scale, Strategy, StrategyFor, Weight, choice_of
from mvc.ops.pick import Picking


@command(
    "mvc cherry-pick run-b~2",
    "mvc cherry-pick main..run-b",
    "mvc cherry-pick --continue",
    exits=EXITS,
    data=JSON,
)
def cherry_pick(
    call: Call,
    revisions: Revisions = (),
    mainline: Mainline = None,
    note: Annotated[bool, Option("-x", "Add to the message where it was picked from.")] = False,
    no_commit: NoCommit = False,
    allow_empty: AllowEmpty = False,
    strategy: Strategy = None,
    strategy_for: StrategyFor = (),
    weight: Weight = None,
    scale: Scale = None,
    density: Density = None,
    continue_: Continue = False,
    skip: Skip = False,
    abort: Abort = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> int | None:
    """Apply what versions changed to the current branch, each as a version of its own.

    Author, message, params and data are those of the version that is picked; metrics, code and environment
    only where the files come out the same, since they say how those came out. Several versions are one
    operation: where one is in conflict, those before it are made, and it stops as 'mvc merge' does.
    """
    choice = choice_of(strategy, strategy_for, weight, scale, density)
    return run(
        call,
        revisions,
        Picking("cherry-pick", choice, mainline, note, allow_empty),
        commit=not no_commit,
        go_on=continue_,
        skip=skip,
        abort=abort,
        json=json,
    )
