"""`barnabas completion`: what makes a shell complete commands, options, and the names of topics and groups."""

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

COMPLETE_VARIABLE = "_BARNABAS_COMPLETE"
"""Where it is set, click answers the shell instead of running a command."""


@click.command(
    epilog="""\b
Examples:
  source <(barnabas completion bash)
  barnabas completion zsh > ~/.zfunc/_barnabas
  barnabas completion fish > ~/.config/fish/completions/barnabas.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, topics and groups."""
    from barnabas.cli.main import main

    kind: type[ShellComplete] | None = get_completion_class(shell)
    assert kind is not None, "click knows the three of them"
    script = kind.source_template % kind(main, {}, "barnabas", COMPLETE_VARIABLE).source_vars()
    click.echo(script)
