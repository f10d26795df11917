"""``mvc init``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.errors import UsageError
from mvc.history.refnames import check_ref_name
from mvc.ops.init import init as make_repository
from mvc.repo import DEFAULT_BRANCH


@command("mvc init", "mvc init runs/bert --name bert-base")
def init(
    call: Call,
    folder: Annotated[str | None, Argument("DIR", "Folder of the work; made where it is missing.")] = None,
    name: Annotated[str | None, Option("--name", "Write the model's name to mvc.toml.", "MODEL")] = None,
    branch: Annotated[
        str | None, Option("-b --branch", "Name of the first branch; main if left out.", "NAME")
    ] = None,
) -> None:
    """Make a repository: a folder .mvc beside the files that are to be versioned."""
    if name is not None and not name.strip():
        raise UsageError("the model's name is empty")
    branch = DEFAULT_BRANCH if branch is None else branch
    check_ref_name(branch)
    place = (call.context.cwd / (folder or ".")).resolve()
    repository = make_repository(call.io, place, call.monitor, branch=branch, model=name)
    call.report(f"made a repository in {repository.store}")
