"""A group of commands. Imports nothing else of ours, as `barnabas --help` is to be instant."""

from typing import Final

import click

MEANT: Final = {
    "list": "ls",
    "new": "create",
    "add": "create",
    "show": "describe",
    "get": "describe",
    "config": "alter",
    "set": "alter",
    "delete": "rm",
    "remove": "rm",
    "reset": "seek",
    "read": "consume",
    "cat": "consume",
    "write": "produce",
    "send": "produce",
    "run": "dev",
    "start": "dev",
}
"""What other tools call a command → ours."""


class Commands(click.Group):
    """A group of commands that knows what was meant by one it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from difflib import get_close_matches

            names = self.list_commands(ctx)
            near = [MEANT[name]] if MEANT.get(name) in names else get_close_matches(name, names, 1)
            ctx.fail(f"there is no command {name!r}{f', did you mean {near[0]!r}?' if near else ''}")
        return super().resolve_command(ctx, args)
