"""How shells ask for completions and hear the answers: their scripts, and the lines between them and mvc.

A script starts ``mvc`` with ``_MVC_COMPLETE=SHELL`` in the environment. For zsh and fish the arguments are
the words up to the cursor, the program's name first. bash cuts words at colons and more, so it hands over
the line as it is, with ``COMP_TYPE`` and ``COMP_WORDBREAKS``. The answer has a line for each candidate. What
stands in it is foreign (file names, branches, messages): no script evaluates it, and what has control
characters is not offered at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mvc.cli.screen import cells, fit
from mvc.text import one_line

HELP_COLUMNS = 60


class Candidate(NamedTuple):
    """A word that could stand where the cursor is; ``more``: it goes on, so no space follows."""

    text: str
    help: str = ""
    more: bool = False


class Question(NamedTuple):
    """The words before the cursor, without the program's name, and the beginning of the one at the cursor.

    For bash: ``kept``, how many of its characters bash keeps by itself, the ``quote`` that is open in it, and
    whether candidates are listed (or put on the line one by one).
    """

    before: list[str]
    current: str
    kept: int = 0
    quote: str = ""
    listed: bool = True


def harmless(found: Iterable[Candidate]) -> list[Candidate]:
    """Candidates that a line can hold, each once."""
    some = {candidate.text: candidate for candidate in found if one_line(candidate.text) == candidate.text}
    return [item._replace(help=fit(one_line(item.help), HELP_COLUMNS, "end")) for item in some.values()]


# --- zsh and fish ------------------------------------------------------------------------------------------
def ask_words(words: Sequence[str]) -> Question:
    """From the words up to the cursor, ``mvc`` first."""
    return Question(list(words[1:-1]), words[-1] if len(words) > 1 else "")


def answer_zsh(question: Question, found: Sequence[Candidate]) -> list[str]:
    """``+`` before what goes on and ``-`` before the rest, then the word and its help."""
    return [f"{'+' if item.more else '-'}\t{item.text}\t{item.help}" for item in found]


def answer_fish(question: Question, found: Sequence[Candidate]) -> list[str]:
    """The word and its help; fish sees by itself what goes on."""
    return [f"{item.text}\t{item.help}" for item in found]


# --- bash --------------------------------------------------------------------------------------------------
_PLAIN = re.compile(r"[^\w./:=@%+,^#-]")
_IN_QUOTES = re.compile(r'["$`\\!]')
_ONE_BY_ONE = ("37", "42")
"""COMP_TYPE when candidates are put on the line one after the other, or all at once: ``%`` and ``*``."""
_NO_BREAKS = {ord(character): None for character in "\"'\\ \t\n"}
"""Characters of COMP_WORDBREAKS that :func:`split` knows about."""


def ask_bash(words: Sequence[str]) -> Question:
    """From the line up to the cursor, COMP_TYPE and COMP_WORDBREAKS."""
    line, comp_type, breaks = [*words, "", "", ""][:3]
    before, current, raw, quote = split(line)
    # readline replaces only what stands behind an open quote, or behind the last character that breaks words
    at = max(raw.rfind(character) for character in quote or f"{breaks.translate(_NO_BREAKS)}\0")
    kept = len(split(raw[: at if quote else at + 1])[1])
    return Question(before[1:], current, kept, quote, comp_type not in _ONE_BY_ONE)


def answer_bash(question: Question, found: Sequence[Candidate]) -> list[str]:
    """What readline puts on the line, quoted, with a space behind what is complete. Where there are several
    it only lists them and inserts what they have in common, so each may have its help behind it."""
    shown = []
    for item in found:
        text = _quoted(item.text[question.kept :], question.quote)
        shown.append(text if item.more or question.quote else f"{text} ")
    if len(found) < 2 or not question.listed or not any(item.help for item in found):
        return shown
    width = max(map(cells, shown))
    return [
        f"{text}{' ' * (width - cells(text))} ({item.help})" if item.help else text
        for text, item in zip(shown, found, strict=True)
    ]


def split(line: str) -> tuple[list[str], str, str, str]:
    """The words of an unfinished line as bash understands them: those before the last one, the last one
    (empty behind a space), the last one as it is written, and the quote that is open in it."""
    words: list[str] = []
    current, quote, begin, inside, escaped = "", "", 0, False, False
    for place, character in enumerate(line):
        if not inside:
            if character in " \t\n":
                continue
            inside, begin, current = True, place, ""
        if escaped:
            current += character if quote != '"' or character in '"$`\\' else f"\\{character}"
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote, current = ("", current) if character == quote else (quote, current + character)
        elif character in "\"'":
            quote = character
        elif character in " \t\n":
            words.append(current)
            inside = False
        else:
            current += character
    return (words, current, line[begin:], quote) if inside else (words, "", "", "")


def _quoted(text: str, quote: str) -> str:
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote:
        return _IN_QUOTES.sub(r"\\\g<0>", text)
    return _PLAIN.sub(r"\\\g<0>", text)


# --- scripts -----------------------------------------------------------------------------------------------
BASH = """\
# bash completion for mvc
_mvc_complete() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(_MVC_COMPLETE=bash mvc "${COMP_LINE:0:COMP_POINT}" "$COMP_TYPE" "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o nospace -F _mvc_complete mvc
"""

ZSH = """\
#compdef mvc
# zsh completion for mvc
_mvc() {
    local kind value help
    local -a before ended ended_shown going going_shown
    before=("${(@Q)words[1,CURRENT-1]}")
    while IFS=$'\\t' read -r kind value help; do
        if [[ $kind == + ]]; then
            going+=("$value")
            going_shown+=("$value${help:+  -- $help}")
        else
            ended+=("$value")
            ended_shown+=("$value${help:+  -- $help}")
        fi
    done < <(_MVC_COMPLETE=zsh mvc "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)
    (( $#ended )) && compadd -l -V mvc -d ended_shown -a ended
    (( $#going )) && compadd -l -V mvc -S '' -d going_shown -a going
    return 0
}
if [[ $funcstack[1] == _mvc ]]; then
    _mvc "$@"
else
    compdef _mvc mvc
fi
"""

FISH = """\
# fish completion for mvc
function __mvc_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l plain (string unescape -- $current 2>/dev/null)
    and set current $plain
    env _MVC_COMPLETE=fish mvc $before "$current" 2>/dev/null
end
complete --command mvc --erase
complete --command mvc --no-files --keep-order --arguments '(__mvc_complete)'
"""


class Shell(NamedTuple):
    """A shell: its script, how its question is understood and how it is answered."""

    script: str
    ask: Callable[[Sequence[str]], Question]
    answer: Callable[[Question, Sequence[Candidate]], list[str]]


SHELLS = {
    "bash": Shell(BASH, ask_bash, answer_bash),
    "zsh": Shell(ZSH, ask_words, answer_zsh),
    "fish": Shell(FISH, ask_words, answer_fish),
}
