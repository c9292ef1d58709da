"""What the help and the guides show: every command line in them is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from barnabas.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
EXAMPLE = re.compile(rf"barnabas ((?:{'|'.join(COMMANDS)})\b.*?)(?=$|  | [|>#]|\))", re.M)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def commands() -> Iterator[tuple[list[str], click.Command]]:
    for name in COMMANDS:
        yield from _below([name], main.get_command(click.Context(main), name))


def _below(words: list[str], command: click.Command | None) -> Iterator[tuple[list[str], click.Command]]:
    assert command is not None
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _below([*words, name], each)
    else:
        yield words, command


def examples() -> list[str]:
    texts = [main.epilog or "", *(command.epilog or "" for _, command in commands())]
    texts += [
        block for page in PAGES for kind, block in BLOCK.findall(page.read_text()) if kind in ("", "sh")
    ]
    return sorted({example for text in texts for example in EXAMPLE.findall(text)})


@pytest.mark.parametrize("line", examples())
def test_an_example_is_taken_as_it_stands(line: str) -> None:
    command: click.Command = main
    context = click.Context(main, info_name="barnabas")
    words = shlex.split(line)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None and name is not None
        command = found
    command.make_context(name, words)


def test_every_command_has_an_example_of_its_own_and_every_option_a_meaning() -> None:
    for words, command in commands():
        own = " ".join("consume" if word == "tail" else word for word in words)
        assert f"barnabas {own} " in f"{command.epilog}\n".replace("\n", " "), words
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (words, parameter.name)


def test_lists_of_commands_say_whole_sentences() -> None:
    for name in ("topic", "group"):
        group = main.get_command(click.Context(main), name)
        assert isinstance(group, click.Group)
        shown = group.get_help(click.Context(group, info_name=name))
        assert "..." not in shown.partition("Commands:")[2] and "Examples:" in shown, shown
