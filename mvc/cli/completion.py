"""``mvc completion``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, command
from mvc.cli.shells import SHELLS


@command("mvc completion bash > ~/.local/share/bash-completion/completions/mvc")
def completion(
    call: Call,
    shell: Annotated[str, Argument("bash|zsh|fish", "Which shell.")],
) -> None:
    """Print the script that makes a shell complete commands, options, revisions, paths and tensors' names.

    bash: write it to ~/.local/share/bash-completion/completions/mvc. zsh: to a file _mvc in a folder of
    $fpath. fish: to ~/.config/fish/completions/mvc.fish.
    """
    call.print(SHELLS[shell].script.rstrip())
