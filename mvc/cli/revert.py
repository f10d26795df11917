"""``mvc revert``."""

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
    "mvc revert HEAD",
    "mvc revert -m 1 v2.0",
    "mvc revert --abort",
    exits=EXITS,
    data=JSON,
)
def revert(
    call: Call,
    revisions: Revisions = (),
    mainline: Mainline = None,
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
    """Make versions that take back what others changed, each as a version of its own.

    Unlike 'mvc reset' and 'mvc undo' it adds to history. Several versions are one operation: where one is in
    conflict, those before it are made, and it stops as 'mvc merge' does.
    """
    choice = choice_of(strategy, strategy_for, weight, scale, density)
    return run(
        call,
        revisions,
        Picking("revert", choice, mainline, False, allow_empty),
        commit=not no_commit,
        go_on=continue_,
        skip=skip,
        abort=abort,
        json=json,
    )
