"""Groups of commands that can be called without naming one."""

from __future__ import annotations

from typing import Any

import click


class RunByDefault(click.Group):
    """A group of which one command need not be named.

    Parameters
    ----------
    default
        Name of that command.
    arguments, options
        As of `click.Group`.
    """

    def __init__(self, *arguments: Any, default: str = "run", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before arguments that name none."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
