"""``mvc commit``."""

from typing import Annotated

from mvc import provenance
from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.given import Metrics, Params, metrics, pair, params
from mvc.cli.text import duration, share
from mvc.cli.versions import entry_json
from mvc.config import enabled
from mvc.errors import UsageError
from mvc.history.decorations import Decorations
from mvc.ops.commit import Committed, Request
from mvc.ops.commit import commit as make_commit
from mvc.repo import Repository
from mvc.text import count, one_line, size
from mvc.underway.pending import read_pending


@command(
    "mvc commit -m 'Epoch 3' --metric loss=1.93 --param lr=3e-4",
    "mvc commit -m 'New tokenizer' tokenizer/",
    "mvc commit -m 'Average of two runs' --recipe run-a --recipe run-b",
    "mvc commit -m 'Fine-tuned' --data train=data/train.jsonl --data base=hf://org/model",
    exits=(
        "1 nothing changed, so there is nothing to commit",
        "4 a merge is under way, and files are in conflict still",
    ),
    data="The new version as in 'mvc log --json'.",
)
def commit(
    call: Call,
    paths: Annotated[tuple[str, ...], Argument("PATH", "Record only these files or folders.")] = (),
    message: Annotated[
        tuple[str, ...], Option("-m --message", "What changed and why; several make paragraphs.", "TEXT")
    ] = (),
    metric: Metrics = (),
    param: Params = (),
    data: Annotated[
        tuple[str, ...],
        Option("--data", "What it was trained or tested on; may be repeated.", "NAME=PATH_OR_URI"),
    ] = (),
    author: Annotated[
        str | None, Option("--author", "Who made it, if it was not you.", "'NAME <EMAIL>'")
    ] = None,
    amend: Annotated[bool, Option("--amend", "Replace the last version instead of following it.")] = False,
    allow_empty: Annotated[bool, Option("--allow-empty", "Commit even if no file changed.")] = False,
    rescan: Annotated[
        bool, Option("--rescan", "Look into every file anew, with the formats that this mvc knows.")
    ] = False,
    fast: Annotated[
        bool, Option("--fast", "Store quickly, not tightly; 'mvc gc --repack' makes up for it.")
    ] = False,
    base: Annotated[
        tuple[str, ...],
        Option("--base", "What the files come from, if mvc should not look; may be repeated.", "REV"),
    ] = (),
    recipe: Annotated[
        tuple[str, ...],
        Option("--recipe", "One of the versions that this one averages or merges; repeat it.", "REV"),
    ] = (),
    json: Annotated[bool, Option("--json", "Print the new version as a JSON object.")] = False,
) -> None:
    """Snapshot what is in the folder and not ignored as a new version.

    There is no staging area. Files named in .mvcignore are left out, as are .mvc, .git, .hg and .venv.

    A version also records Python, platform and frameworks (not with the setting commit.environment = false)
    and the Git commit of the code around it (not with commit.code = false); data as its size and fingerprint.
    Secrets are masked.

    Where a merge, cherry-pick or revert is under way and its conflicts are resolved, the version concludes
    it; it has a message already then.
    """
    text = "\n\n".join(message)
    repository, settings = call.repository, call.settings()
    if len(recipe) == 1:
        raise UsageError(
            "one --recipe makes no combination", hint="name each version that was merged, or use --base"
        )
    if not text.strip() and (message or not (amend or _is_under_way(repository))):
        raise UsageError("a version needs a message", hint="mvc commit -m 'what changed'")
    request = Request(
        message=text if message else None,
        author=call.author(author),
        time=call.now(),
        metrics=dict(metrics(metric)),
        params=dict(params(param)),
        data=provenance.data(
            call.io,
            dict(pair(item, "--data train=data/train") for item in data),
            folder=call.context.cwd,
            worktree=repository.worktree,
            monitor=call.monitor,
        ),
        code=provenance.code(repository.worktree) if enabled(settings, "commit.code") else None,
        environment=provenance.environment(call.context.environment)
        if enabled(settings, "commit.environment")
        else None,
        paths=call.inside(paths),
        amend=amend,
        reauthor=author is not None,
        allow_empty=allow_empty,
        rescan=rescan,
        fast=fast,
        bases=base,
        recipe=recipe,
    )
    done = make_commit(repository, request)
    if json:
        with repository.reading() as view:
            call.data(entry_json(Decorations(view.refs).entry(done.id, done.commit), ()))
    else:
        _report(call, done)


def _is_under_way(repository: Repository) -> bool:
    with repository.reading() as view:
        return read_pending(view) is not None


def _report(call: Call, done: Committed) -> None:
    if done.already:
        call.report(f"already committed as {done.id.short}, by an earlier try")
        return
    where = one_line(done.branch) if done.branch else "detached HEAD"
    first = "" if done.commit.parents else " (first version)"
    call.report(f"[{where}{first} {done.id.short}] {one_line(done.commit.subject)}")
    # for a few bytes, what a version itself takes would make a percentage of thousands
    told = done.read_bytes > 0 and done.stored_bytes < 2 * done.read_bytes
    ratio = f" ({share(done.stored_bytes / done.read_bytes)})" if told else ""
    call.report(
        f"{count(done.files, 'file')}, {size(done.read_bytes)} read, {size(done.stored_bytes)} stored{ratio}"
        f" in {duration(done.seconds)}"
    )
