"""``mvc doctor``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.checkup import Finding, findings
from mvc.cli.declare import Option, command
from mvc.cli.tables import Column, Table
from mvc.errors import DamageError, UserError
from mvc.text import one_line

_WORST = {"damage": DamageError.exit_code, "problem": UserError.exit_code}
_COLOURS = {"warning": "yellow", "problem": "red", "damage": "red"}


@command(
    "mvc doctor",
    exits=("3 there is a problem that you can mend", "5 the repository is damaged"),
    data="An array with an object for each check: level (ok, warning, problem, damage), what, says, hint.",
)
def doctor(
    call: Call,
    json: Annotated[bool, Option("--json", "Print a JSON array.")] = False,
) -> int:
    """Check this installation, this machine and the repository here, if there is one.

    It looks at what must hold before anything else can work; 'mvc fsck' checks what is stored.
    """
    found = list(findings(call.context, call.io))
    if json:
        call.data([finding._asdict() for finding in found])
    else:
        _print(call, found)
    return max((_WORST.get(finding.level, 0) for finding in found), default=0)


def _print(call: Call, found: list[Finding]) -> None:
    table = Table([Column(), Column(), Column()])
    for finding in found:
        colour = "" if finding.level == "ok" else _COLOURS[finding.level]
        table.add(finding.level, finding.what, one_line(finding.says), colour=colour)
    for finding, line in zip(found, table.lines(call.screen), strict=True):
        if finding.level == "ok" and call.quiet:
            continue
        call.print(line)
        if finding.hint:
            call.print(f"{'':9}{finding.hint}")
