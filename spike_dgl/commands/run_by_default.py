"""Groups of commands with a default command."""

from __future__ import annotations

from typing import Any

import click


class RunByDefault(click.Group):
    """Group of commands with a default command.

    Parameters
    ----------
    default
        Name of the default command.
    arguments, options
        See `click.Group`.
    """

    def __init__(self, *arguments: Any, default: str = "run", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the default command if the arguments name none."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
