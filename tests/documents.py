"""Runs the examples of a document as a reader would type them, and compares what they print.

A ``console`` block holds lines that begin with ``$`` (a here-document's lines belong to its command) and
what they print. A ``python`` block is executed, all of a document in one interpreter; a ``text`` block right
behind it is what it prints. In what is printed ``…`` stands for anything: alone on a line for any lines,
elsewhere for the rest of a word or line. Ids, times and runs of spaces may differ; sizes by a factor of
:data:`SIZE_FACTOR`, percentages by :data:`POINTS`.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

SECONDS = 120
SIZE_FACTOR = 1.5
POINTS = 5.0
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

_FENCE = re.compile(r"^```(\w*)$")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_VARIES = re.compile(
    r"(?P<size>\d+(?:\.\d+)? (?:B|kB|MB|GB|TB)\b)|(?P<percent>[<>]?\d+(?:\.\d+)? %)"
    r"|(?P<seconds>\d+(?:\.\d+)? s\b)|(?P<date>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
    r"|(?P<long>\w{3} \w{3} \d{1,2} \d\d:\d\d:\d\d \d{4} [+-]\d{4})"
    r"|(?P<id>\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b)|(?P<any>…)|(?P<space>\s+)"
)
_PATTERNS = {
    "size": r"(?P<size{}>\d+(?:\.\d+)? (?:B|kB|MB|GB|TB))",
    "percent": r"(?P<percent{}>[<>]?\d+(?:\.\d+)? %)",
    "seconds": r"\d+(?:\.\d+)? s",
    "date": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "long": r"\w{3} \w{3} \d{1,2} \d\d:\d\d:\d\d \d{4} [+-]\d{4}",
    "id": r"[0-9a-f]{8,64}",
    "any": r".*",
    "space": r"\s+",
}


class Step(NamedTuple):
    """Something to run: a shell's command line or Python, and the lines that it is said to print."""

    line: int
    language: str
    text: str
    printed: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """Whether the document says that it ends with an error."""
        return any(line.startswith("error: ") for line in self.printed)


# --- reading -----------------------------------------------------------------------------------------------
def steps(document: str, section: str = "") -> list[Step]:
    """The steps of a document, or only of the section with that title."""
    found: list[Step] = []
    for start, language, lines in _blocks(document, section):
        if language == "console":
            found += _console(start, lines)
        elif language == "python":
            found.append(Step(start, "python", "\n".join(lines) + "\n", ()))
        elif language == "text" and found and found[-1].language == "python":
            found[-1] = found[-1]._replace(printed=tuple(lines))
    return found


def _blocks(document: str, section: str) -> Iterator[tuple[int, str, list[str]]]:
    """Fenced blocks: number of the first line, language, lines."""
    language: str | None = None
    lines: list[str] = []
    start, wanted = 0, not section
    for number, line in enumerate(document.splitlines(), 1):
        fence = _FENCE.match(line)
        if language is None:
            if line.startswith("#") and section:
                wanted = line.lstrip("# ") == section
            if fence:
                language, lines, start = fence[1], [], number + 1
        elif fence:
            if wanted:
                yield start, language, lines
            language = None
        else:
            lines.append(line)


def _console(start: int, lines: Sequence[str]) -> Iterator[Step]:
    command: list[str] = []
    printed: list[str] = []
    begin, until = start, ""
    for number, line in enumerate(lines, start):
        if until or (command and command[-1].endswith("\\") and not printed):
            command.append(line)
            until = "" if line == until else until
        elif line.startswith("$ "):
            if command:
                yield Step(begin, "console", "\n".join(command), tuple(printed))
            command, printed, begin = [line[2:]], [], number
            heredoc = _HEREDOC.search(line)
            until = heredoc[2] if heredoc else ""
        else:
            printed.append(line)
    if command:
        yield Step(begin, "console", "\n".join(command), tuple(printed))


# --- running -----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Child:
    """An interpreter that is given one text after the other and marks the end of each one's output."""

    process: subprocess.Popen[bytes]

    def run(self, text: str, mark: str) -> tuple[int, str]:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(text.encode())
        stdin.flush()
        heard, deadline = b"", time.monotonic() + SECONDS
        end = re.compile(re.escape(mark).encode() + rb"(\d+)\n$")
        while not (match := end.search(heard)):
            assert time.monotonic() < deadline, f"no end after {SECONDS} s: {heard.decode()}"
            if select.select([stdout], [], [], 0.1)[0]:
                piece = os.read(stdout.fileno(), 65536)
                assert piece, f"the interpreter ended: {heard.decode()}"
                heard += piece
        return int(match[1]), heard[: match.start()].decode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


_PYTHON = """
import os, sys, traceback
space = {"__name__": "__main__"}
while header := sys.stdin.readline():
    folder, size = header.rstrip("\\n").rsplit(" ", 1)
    os.chdir(folder)
    code = 0
    try:
        exec(compile(sys.stdin.read(int(size)), "<document>", "exec"), space)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.write(f"{MARK}{code}\\n")
    sys.stdout.flush()
"""


class Session:
    """A reader's shell and Python interpreter, which go from one step to the next."""

    MARK = "\x01end of step "

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._shell = _Child(self._start(["bash", "--norc", "--noprofile"]))
        self._python: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in (self._shell, self._python):
            if child is not None:
                child.close()

    def run(self, step: Step) -> tuple[int, str]:
        """Exit code, and what came to standard output and standard error."""
        if step.language == "python":
            return self._run_python(step.text)
        # braces, so that cd and export last
        text = f"{{\n{step.text}\n}} </dev/null\nprintf '\\001end of step %s\\n' $?\n"
        return self._shell.run(text, self.MARK)

    def _run_python(self, text: str) -> tuple[int, str]:
        if self._python is None:
            program = _PYTHON.replace("{MARK}", self.MARK.replace("\x01", "\\x01"))
            self._python = _Child(self._start([sys.executable, "-u", "-c", program]))
        _, folder = self._shell.run("pwd -P; printf '\\001end of step %s\\n' $?\n", self.MARK)
        return self._python.run(f"{folder.strip()} {len(text)}\n{text}", self.MARK)

    def _start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def mistakes(document: str, shown: str, session: Session) -> list[str]:
    """Run a document; what differs from what it says, with the name by which it is ``shown`` and the line."""
    found = steps(document)
    assert len(found) > 20
    wrong = []
    for step in found:
        code, printed = session.run(step)
        told = difference(step.printed, printed.splitlines())
        if bool(code) is not step.fails:
            told = f"exit code {code}: {printed}"
        if told:
            wrong.append(f"{shown}:{step.line}: {step.text.splitlines()[0]}\n    {told}")
    return wrong


# --- comparing ---------------------------------------------------------------------------------------------
def difference(expected: Sequence[str], printed: Sequence[str]) -> str:
    """What is wrong with the lines that were printed; empty when they are what was expected."""
    if not expected:
        return "" if not printed else f"nothing is said to be printed, but {printed[0]!r} was"
    if expected[0].strip() == "…":
        ends = range(len(printed) + 1)
        return (
            ""
            if any(not difference(expected[1:], printed[end:]) for end in ends)
            else (f"nothing fits behind the … that stands before {expected[1:2]}: {list(printed)}")
        )
    if not printed:
        return f"{expected[0]!r} was not printed"
    wrong = _line_difference(expected[0], printed[0])
    return wrong or difference(expected[1:], printed[1:])


def _line_difference(expected: str, printed: str) -> str:
    pattern, end = "", 0
    figures: dict[str, str] = {}
    for number, match in enumerate(_VARIES.finditer(expected)):
        kind = str(match.lastgroup)
        figures[f"{kind}{number}"] = match[0]
        pattern += re.escape(expected[end : match.start()]) + _PATTERNS[kind].replace("{}", str(number))
        end = match.end()
    found = re.fullmatch(pattern + re.escape(expected[end:]), printed.rstrip())
    if found is None:
        return f"expected {expected!r}, but {printed!r} was printed"
    for name, figure in found.groupdict().items():
        if not _about(figures[name], figure):
            return f"expected {expected!r}, but {printed!r} was printed: {figure} is too far off"
    return ""


def _about(expected: str, printed: str) -> bool:
    if printed.endswith("%"):
        first, second = (float(text.strip("<>% ")) for text in (expected, printed))
        return abs(first - second) <= POINTS
    first, second = (_bytes(text) for text in (expected, printed))
    return min(first, second) * SIZE_FACTOR >= max(first, second)


def _bytes(text: str) -> float:
    number, unit = text.split()
    return float(number) * UNITS[unit]
