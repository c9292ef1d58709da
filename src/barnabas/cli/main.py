"""`barnabas`: finds the command and imports its module, and no other, so that every command starts fast."""

from importlib import import_module
from typing import Final

import click

from barnabas import __version__
from barnabas.cli.commands import Commands

COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "dev": ("serve", "dev", "Run a broker for development."),
    "serve": ("serve", "serve", "Run a broker."),
    "topic": ("topic", "topic", "List, make, change and remove topics."),
    "produce": ("produce", "produce", "Write records from files or stdin to a topic."),
    "consume": ("consume", "consume", "Print the records of topics."),
    "tail": ("consume", "consume", "The same as consume."),
    "group": ("group", "group", "List consumer groups, see their lag, move them."),
    "log": ("log", "log", "Look at, check and repair the files of partitions."),
    "completion": ("completion", "completion", "Print what makes a shell complete commands and names."),
}
"""Command → module in barnabas.cli, name in it, help for the list."""


class LazyGroup(Commands):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command = getattr(import_module(f"barnabas.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    epilog="""\b
Examples:
  barnabas dev
  echo '{"hello": "world"}' | barnabas produce greetings
  barnabas consume greetings -o start -e
  barnabas topic ls
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 denied, 130 Ctrl-C.""",
)
@click.version_option(__version__, prog_name="barnabas")
def main() -> None:
    """An event-streaming platform that speaks the Kafka protocol."""


if __name__ == "__main__":
    main(prog_name="barnabas")
