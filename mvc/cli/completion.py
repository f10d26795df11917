"""``mvc completion``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, command
from mvc.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@command("mvc completion bash > ~/.local/share/bash-completion/completions/mvc")
def completion(
    call: Call,
    shell: Annotated[str, Argument("bash|zsh|fish", "Which shell.")],
) -> None:
    """Print the script that makes a shell complete commands and options of mvc.

    bash: write it to ~/.local/share/bash-completion/completions/mvc. zsh: to a file _mvc in a folder of
    $fpath. fish: to ~/.config/fish/completions/mvc.fish.
    """
    if shell not in SHELLS:
        raise UsageError(f"mvc has no completion for {shell!r}", hint=f"it has some for {', '.join(SHELLS)}")
    # 40 ms: Typer is imported only where it is used; its documented way only works for the shell one is in
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    call.print(get_completion_script(prog_name="mvc", complete_var="_MVC_COMPLETE", shell=shell))
