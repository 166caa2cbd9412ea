"""Commands ``python main.py data`` and ``python main.py prepare ...``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

# Commands import heavy packages when they run, so that --help is fast.
if TYPE_CHECKING:
    from spike_dgl.data.prepare.pipeline import Source

Command = TypeVar("Command", bound=Callable[..., Any])
Options = TypeVar("Options")

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("path", default=None, required=False)
@click.argument("overrides", nargs=-1, metavar="[data.key=value]...")
@click.option("--config", "config_file", type=FILE, help="YAML file with a data section.")
def data(path: str | None, overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Print statistics and an audit of a dataset.

    PATH is its folder (default: the bundled dataset).
    """
    from spike_dgl.config import apply_overrides, build, dotted_keys, read_yaml
    from spike_dgl.data.audit import render
    from spike_dgl.data.options import DataOptions, load

    if path is not None and path.startswith("data.") and "=" in path:
        overrides = (path, *overrides)  # no folder, only settings
        path = None
    settings = apply_overrides(
        read_yaml(config_file) if config_file else {}, overrides, dotted_keys(DataOptions, "data")
    )
    options = build(DataOptions, settings.get("data"), "data")
    click.echo(render(load(options if path is None else dataclasses.replace(options, path=path))))


@click.group()
def prepare() -> None:
    """Make a dataset from raw files.

    The files may be compressed (.gz, .zst, .zip). Each source has options, given as key=value; `prepare options`
    lists them.
    """


def _destination(command: Command) -> Command:
    """Add the arguments and options that all sources share."""
    decorators = (
        click.argument("destination", type=FILE),
        click.argument("overrides", nargs=-1, metavar="[key=value]..."),
        click.option("--overwrite", is_flag=True, help="Replace an existing dataset in DESTINATION."),
        click.option("--also", multiple=True, type=click.Choice(["recbole"]), help="Also write this format."),
        click.option("--quiet", is_flag=True, help="Show no progress bar and no audit."),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@prepare.command()
@click.argument("source", type=FILE)
@_destination
def movielens(source: Path, overrides: tuple[str, ...], **how: Any) -> None:
    """MovieLens files in SOURCE (small, 1M, 20M and later), e.g. with k_core=10 min_rating=3.5."""
    from spike_dgl.data.prepare.movielens import MovieLensOptions
    from spike_dgl.data.prepare.movielens import movielens as describe

    _make(describe(source, _options(MovieLensOptions, "movielens", overrides)), **how)


@prepare.command()
@click.argument("reviews", type=FILE)
@click.argument("metadata", type=FILE)
@_destination
def amazon(reviews: Path, metadata: Path, overrides: tuple[str, ...], **how: Any) -> None:
    """Amazon REVIEWS and METADATA (2014, 2018 or 2023), e.g. Books_5.json.gz and meta_Books.json.gz."""
    from spike_dgl.data.prepare.amazon import AmazonOptions
    from spike_dgl.data.prepare.amazon import amazon as describe

    _make(describe(reviews, metadata, _options(AmazonOptions, "amazon", overrides)), **how)


@prepare.command()
@click.argument("source", type=FILE)
@_destination
def yelp(source: Path, overrides: tuple[str, ...], **how: Any) -> None:
    """Yelp Open Dataset: the files of businesses and reviews in SOURCE."""
    from spike_dgl.data.prepare.options import PrepareOptions
    from spike_dgl.data.prepare.yelp import yelp as describe

    _make(describe(source, _options(PrepareOptions, "yelp", overrides)), **how)


@prepare.command()
@click.argument("source", type=FILE)
@_destination
def lastfm(source: Path, overrides: tuple[str, ...], **how: Any) -> None:
    """Last.fm listeners of HetRec 2011: the .dat files in SOURCE."""
    from spike_dgl.data.prepare.lastfm import LastFmOptions
    from spike_dgl.data.prepare.lastfm import lastfm as describe

    _make(describe(source, _options(LastFmOptions, "lastfm", overrides)), **how)


@prepare.command()
@click.argument("description", type=FILE)
@_destination
def tables(description: Path, overrides: tuple[str, ...], **how: Any) -> None:
    """Your own tables, described by the YAML file DESCRIPTION; see the example in docs/prepare.md."""
    from spike_dgl.config import read_yaml
    from spike_dgl.data.prepare.own_tables import OwnTablesOptions, own_tables

    options = _options(OwnTablesOptions, "tables", overrides, read_yaml(description))
    _make(own_tables(description.parent, options), **how)


@prepare.command()
def options() -> None:
    """Print the options of all sources."""
    from spike_dgl.commands.settings_page import options_table
    from spike_dgl.data.prepare.amazon import AmazonOptions
    from spike_dgl.data.prepare.item_tables import ItemTableOptions
    from spike_dgl.data.prepare.lastfm import LastFmOptions
    from spike_dgl.data.prepare.movielens import MovieLensOptions
    from spike_dgl.data.prepare.options import PrepareOptions
    from spike_dgl.data.prepare.own_tables import InteractionOptions, OwnTablesOptions

    tables = {
        "All sources": options_table(PrepareOptions),
        "More of `amazon`": options_table(AmazonOptions, PrepareOptions),
        "Other defaults of `movielens`": options_table(MovieLensOptions, PrepareOptions),
        "More of `lastfm`, and other defaults": options_table(LastFmOptions, PrepareOptions),
        "More of `tables`": options_table(OwnTablesOptions, PrepareOptions),
        "`interactions` of `tables`": options_table(InteractionOptions),
        "A table of `items`": options_table(ItemTableOptions),
    }
    click.echo("\n\n".join(f"### {title}\n\n{table}" for title, table in tables.items()))


def _options(
    options: type[Options], section: str, overrides: Iterable[str], values: Mapping[str, Any] | None = None
) -> Options:
    """Build options from a mapping and ``key=value`` overrides without a section."""
    from spike_dgl.config import apply_overrides, build

    changed = apply_overrides({section: dict(values or {})}, (f"{section}.{text}" for text in overrides), ())
    return build(options, changed[section], section)


def _make(source: Source, destination: Path, overwrite: bool, also: tuple[str, ...], quiet: bool) -> None:
    from spike_dgl.data import load_dataset
    from spike_dgl.data.audit import render
    from spike_dgl.data.prepare.pipeline import prepare as make

    card = make(source, destination, also=also, overwrite=overwrite, progress=not quiet)
    if "broken_rows" in card:
        click.echo(f"{card['broken_rows']['count']:,} broken rows skipped, the first:", err=True)
        click.echo("\n".join(f"  {row}" for row in card["broken_rows"]["first"]), err=True)
    if "missing_values" in card:
        found = (
            f"{where} ({', '.join(f'{count:,} {spelling}' for spelling, count in spellings.items())})"
            for where, spellings in card["missing_values"].items()
        )
        click.echo(f"taken for missing: {'; '.join(found)}", err=True)
    click.echo(f"{destination}" if quiet else f"{destination}\n\n{render(load_dataset(destination))}")
