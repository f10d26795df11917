"""What happened between two versions, as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from mvc.cli.call import Call
from mvc.text import one_line

if TYPE_CHECKING:
    from mvc.explaining.findings import Finding


def print_findings(call: Call, findings: Sequence[Finding], *, json: bool, exit_code: bool) -> int:
    """Print sentences, those of a file below its name; the exit code tells whether anything differs."""
    if json:
        call.data([_json(finding) for finding in findings])
    elif not call.quiet:
        path = ""
        for finding in findings:
            if finding.path != path:
                path = finding.path
                call.print(call.paint(call.shown(path), "bold") if path else "")
            mark = call.paint("  certified", "green") if finding.certified and finding.path else ""
            call.print(f"{'  ' if path else ''}{finding.text}{mark}")
    some = any(finding.kind != "nothing" for finding in findings)
    return 1 if some and (exit_code or call.quiet) else 0


def _json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "text": finding.text,
        "path": finding.path or None,
        "against": finding.against,
        "certified": finding.certified,
        "figures": _plain(finding.figures),
    }


def _plain(value: Any) -> Any:
    """Numbers that JSON lacks as null, foreign text on one line."""
    if isinstance(value, dict):
        return {one_line(str(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return value if isfinite(value) else None
    return one_line(value) if isinstance(value, str) else value
