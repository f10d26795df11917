"""Answers a shell that asks how a command line goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mvc.cli import candidates
from mvc.cli.call import read_global_config
from mvc.cli.declare import Argument, Command, Parameter
from mvc.cli.shells import SHELLS, Candidate, harmless
from mvc.cli.table import COMMANDS, load
from mvc.config import COLOUR_CHOICES, KNOWN
from mvc.context import Context
from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.repo import Repository
from mvc.sharing.settings import is_address, remotes
from mvc.view import View

GLOBAL = {
    "-C": "Work in this folder.",
    "-R": "Read a shared store where it lies.",
    "-q": "Print nothing but what was asked for and errors.",
    "-v": "Say more.",
    "--color": "When output is coloured.",
    "--no-pager": "Show nothing through a pager.",
    "--version": "Print the version.",
    "--help": "List the commands.",
}
"""Options before the command."""


def complete(context: Context, words: list[str]) -> None:
    """Answer the question, which the shell's script put into ``words``, on standard output."""
    shell = SHELLS.get(context.completing_shell or "")
    if shell is None:
        return  # a script of another version of mvc; a shell has no place for a message
    question = shell.ask(words)
    found: list[Candidate] = []
    try:
        for item in offers(context, question.before, question.current):
            found.append(item)
    except (MvcError, OSError):
        pass  # no repository, no such version, damage: nothing more to offer, and no place for a message
    for line in shell.answer(question, harmless(found)):
        sys.stdout.write(f"{line}\n")


def offers(context: Context, before: list[str], current: str) -> Iterable[Candidate]:
    """What may stand at the cursor: ``before`` are the words before it, ``current`` is how it begins.

    Raises:
        MvcError: it cannot be known, as there is no repository or no such version.
    """
    rest = list(before)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word not in ("-C", "-R", "--color"):
            continue
        if not rest:
            return _choices(COLOUR_CHOICES, current) if word == "--color" else _folders(context, current)
        value = rest.pop(0)
        context = context.inside(value) if word == "-C" else context
    if not rest or rest == ["help"]:
        return _first(current, options=not rest)
    if rest[0] not in COMMANDS:
        return []
    return Line(context, load(rest[0]), current).read(rest[1:])


def _first(current: str, *, options: bool) -> Iterator[Candidate]:
    if current.startswith("--color="):
        yield from _choices(COLOUR_CHOICES, current, "--color=")
    elif current.startswith("-") and options:
        yield from (Candidate(name, told) for name, told in GLOBAL.items() if name.startswith(current))
    else:
        for name, row in COMMANDS.items():
            if name.startswith(current):
                yield Candidate(name, row.summary)


def _choices(words: Iterable[str], current: str, before: str = "") -> Iterator[Candidate]:
    for word in words:
        if (before + word).startswith(current):
            yield Candidate(before + word)


def _folders(context: Context, current: str) -> Iterator[Candidate]:
    return candidates.paths(current, context.cwd, folders_only=True)


@dataclass(slots=True)
class Line:
    """The line of one command. ``free`` are the words so far that are no options, ``given`` the options."""

    context: Context
    command: Command
    current: str
    free: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)

    def read(self, before: list[str]) -> Iterable[Candidate]:
        """What may stand at the cursor."""
        options = {name: item for item in self.command.parameters for name in item.spellings}
        words = iter(before)
        for word in words:
            if word == "--":
                return self._behind_dashes(list(words))
            option = options.get(word.partition("=")[0])
            if option is None:
                if not word.startswith("-"):
                    self.free.append(word)
                continue
            self.given.add(option.name)
            if option.type is not bool and "=" not in word and next(words, None) is None:
                return self._value(option, "", self.current)
        return self._at_cursor(options)

    def _at_cursor(self, options: dict[str, Parameter]) -> Iterable[Candidate]:
        name, equals, begin = self.current.partition("=")
        if equals and name.startswith("--") and name in options:
            return self._value(options[name], f"{name}=", begin)
        if self.current.startswith("-"):
            return self._options(options)
        arguments = [item for item in self.command.parameters if isinstance(item.declared, Argument)]
        at = min(len(self.free), len(arguments) - 1)
        if at < 0 or (at < len(self.free) and not arguments[at].many):
            return []
        return self._value(arguments[at], "", self.current)

    def _options(self, options: dict[str, Parameter]) -> Iterator[Candidate]:
        offered = set()
        # the long spelling says more
        for name, parameter in sorted(options.items(), key=lambda item: -len(item[0])):
            again = parameter.name in self.given and not parameter.many
            if name.startswith(self.current) and parameter.name not in offered and not again:
                offered.add(parameter.name)
                yield Candidate(name, parameter.declared.help)
        if "--help".startswith(self.current):
            yield Candidate("--help", "Explain this command.")

    def _behind_dashes(self, paths: list[str]) -> Iterable[Candidate]:
        if not self.command.paths:
            return []
        if self.command.name == "checkout" and self.free:
            return self._in_version(self.free[0], self.current)
        return self.path(self.current)

    # --- values --------------------------------------------------------------------------------------------
    def _value(self, parameter: Parameter, before: str, begin: str) -> Iterator[Candidate]:
        """Candidates for what is called so in the command's help, such as ``REV``."""
        if parameter.choices:
            found: Iterable[Candidate] = _choices(parameter.choices, begin)
        else:
            kind = parameter.declared.value
            offer = OFFERS.get(kind)
            found = () if offer is None else offer(self, begin)
        for item in found:
            yield item._replace(text=before + item.text)

    def revision(self, begin: str) -> Iterable[Candidate]:
        """A branch, a tag, a commit."""
        return self._in_view(candidates.revisions, begin)

    def inside(self, begin: str) -> Iterator[Candidate]:
        """``REV:PATH``; a colon is still to come behind a revision."""
        if ":" in begin:
            yield from self._in_version(None, begin)
            return
        colon = ":" if self.command.name == "cat" else ""
        for item in self.revision(begin):
            yield Candidate(item.text + colon, item.help, more=True)

    def revision_or_path(self, begin: str) -> Iterator[Candidate]:
        """Behind a first word, paths of that version or of the work tree."""
        if self.free and self.command.name == "checkout":
            yield from self._in_version(self.free[0], begin)
            return
        yield from self.revision(begin)
        yield from self.path(begin)

    def verb_or_revision(self, begin: str) -> Iterable[Candidate]:
        """What ``mvc bisect`` can do; behind that, revisions."""
        if self.free:
            return self.revision(begin)
        from mvc.cli.bisect import VERBS  # only where it is asked for

        return (Candidate(word, told) for word, told in VERBS.items() if word.startswith(begin))

    def name(self, begin: str) -> Iterable[Candidate]:
        """A branch or a tag that there is; behind a new one, the revision that it is to name."""
        if self.free and not {"delete", "move"} & self.given:
            return self.revision(begin)
        kinds = {"branch": candidates.branches, "tag": candidates.tags}
        kind = kinds.get(self.command.name)
        return self.revision(begin) if kind is None else self._in_view(kind, begin)

    def remote(self, begin: str) -> Iterable[Candidate]:
        """A remote's name, or a folder."""
        known = remotes(self._repository().config())
        yield from (Candidate(name, one.address) for name, one in known.items() if name.startswith(begin))
        if is_address(begin):
            yield from self.folder(begin)

    def remote_action(self, begin: str) -> Iterable[Candidate]:
        """What ``mvc remote`` can do."""
        from mvc.cli.remote import ACTIONS  # only where it is asked for

        return (Candidate(word, told) for word, told in ACTIONS.items() if word.startswith(begin))

    def remote_or_address(self, begin: str) -> Iterable[Candidate]:
        """Behind what ``mvc remote`` is to do, a remote's name; behind that, or a new one, a folder."""
        if len(self.free) == 1 and self.free[0] != "add":
            return self.remote(begin)
        return self.folder(begin)

    def refspec(self, begin: str) -> Iterator[Candidate]:
        """A branch or a tag; behind a colon nothing that is known here."""
        plus = "+" if begin.startswith("+") else ""
        for kind in (candidates.branches, candidates.tags):
            for item in self._in_view(kind, begin.removeprefix("+")):
                yield item._replace(text=plus + item.text)

    def branch_there(self, begin: str) -> Iterator[Candidate]:
        """A branch of the remote that was named, as it was last seen."""
        before = f"{self.free[0]}/" if self.free else ""
        for item in self._in_view(candidates.followed, before + begin):
            yield item._replace(text=item.text.removeprefix(before))

    def path(self, begin: str) -> Iterator[Candidate]:
        """A file or folder of the work tree, or one that was deleted there."""
        yield from candidates.paths(begin, self.context.cwd)
        yield from self._in_version("HEAD", begin)

    def path_or_tensor(self, begin: str) -> Iterator[Candidate]:
        """A file or folder of the last version as the current folder calls it, or a tensor in such a file."""
        start = "HEAD:./"
        for item in self._in_version(None, start + begin):
            yield item._replace(text=item.text.removeprefix(start))

    def note(self, begin: str) -> Iterable[Candidate]:
        """A note of the version that was named before."""
        if len(self.free) < 2:
            return ()
        return self._in_view(lambda view, text: candidates.note_ids(view, self.free[1], text), begin)

    def folder(self, begin: str) -> Iterable[Candidate]:
        """A folder anywhere."""
        return _folders(self.context, begin)

    def file(self, begin: str) -> Iterable[Candidate]:
        """A file or folder anywhere."""
        return candidates.paths(begin, self.context.cwd)

    def version_or_target(self, begin: str) -> Iterable[Candidate]:
        """What ``mvc export`` is of; behind that, where it goes to."""
        return self.file(begin) if self.free else self.inside(begin)

    def named_path(self, begin: str) -> Iterator[Candidate]:
        """``NAME=PATH``: a path anywhere, behind a name that only the user knows."""
        name, equals, path = begin.partition("=")
        for item in candidates.paths(path, self.context.cwd) if equals else ():
            yield item._replace(text=f"{name}={item.text}")

    def key(self, begin: str) -> Iterator[Candidate]:
        """A setting's name."""
        for name, setting in KNOWN.items():
            if name.startswith(begin):
                yield Candidate(name, setting.meaning)
        config = read_global_config(self.context, FileIO())
        for name, _ in config.items():
            if name.startswith(begin):
                yield Candidate(name)
        repository = self._repository()
        yield from (Candidate(name) for name, _ in repository.config().items() if name.startswith(begin))

    def setting(self, begin: str) -> Iterable[Candidate]:
        """A setting's value, where it has few."""
        known = KNOWN.get(self.free[0]) if self.free else None
        if known is None:
            return ()
        return _choices(("true", "false") if known.type is bool else known.choices, begin)

    def operation(self, begin: str) -> Iterable[Candidate]:
        """An operation's id."""
        return self._in_view(candidates.operation_ids, begin)

    def restore(self, begin: str) -> Iterable[Candidate]:
        """What ``mvc oplog`` can do beside listing."""
        return _choices(("restore",), begin)

    # --- the repository ------------------------------------------------------------------------------------
    def _repository(self) -> Repository:
        return Repository.find(FileIO(), self.context.cwd, Monitor())

    def _in_view(self, offer: Callable[[View, str], Iterable[Candidate]], begin: str) -> Iterator[Candidate]:
        with self._repository().reading() as view:
            yield from offer(view, begin)

    def _in_version(self, revision: str | None, begin: str) -> Iterator[Candidate]:
        """Paths of a version as the current folder calls them; None: ``begin`` is ``REV:PATH``."""
        repository = self._repository()
        here = os.path.relpath(os.path.realpath(self.context.cwd), os.path.realpath(repository.worktree))
        with repository.reading() as view:
            if revision is None:
                yield from candidates.inside_version(view, begin, here)
            elif revision != "HEAD" or view.head_commit() is not None:
                yield from candidates.paths_of_version(view, revision, begin, here)


OFFERS: dict[str, Callable[[Line, str], Iterable[Candidate]]] = {
    "REV": Line.revision,
    "REV:PATH": Line.inside,
    "REV[:PATH]": Line.inside,
    "REV|PATH": Line.revision_or_path,
    "TARGET": Line.revision_or_path,
    "VERB|REV": Line.verb_or_revision,
    "NAME": Line.name,
    "PATH": Line.path,
    "PATH[#TENSOR]": Line.path_or_tensor,
    "NOTE": Line.note,
    "DIR": Line.folder,
    "SOURCE": Line.folder,
    "NAME=PATH_OR_URI": Line.named_path,
    "FILE": Line.file,
    "REV|DEST": Line.version_or_target,
    "ADDRESS": Line.folder,
    "BRANCH": Line.branch_there,
    "REFSPEC": Line.refspec,
    "REMOTE": Line.remote,
    "REMOTE|ADDRESS": Line.remote_or_address,
    "add|list|show|remove|rename|set-url|prune": Line.remote_action,
    "KEY": Line.key,
    "VALUE": Line.setting,
    "OPERATION": Line.operation,
    "restore": Line.restore,
}
"""What is offered for a value, by what help calls it. For other names nothing is."""
