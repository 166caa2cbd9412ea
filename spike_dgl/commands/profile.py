"""The commands of ``python main.py profile``: a language model's texts about every node."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spike_dgl.commands.run_by_default import RunByDefault
from spike_dgl.errors import ConfigError, SpikeError

if TYPE_CHECKING:
    from spike_dgl.data.dataset import Dataset
    from spike_dgl.profiles.llm.estimate import Budget, Estimate
    from spike_dgl.profiles.llm.generate import Generation
    from spike_dgl.profiles.llm.prices import PriceTable
    from spike_dgl.profiles.llm.requests import Request
    from spike_dgl.profiles.llm.store import Store
    from spike_dgl.profiles.options import ProfileOptions

FILE = click.Path(path_type=Path)


@click.group(cls=RunByDefault)
def profile() -> None:
    """Profiles: from a language model (run, the default; status, export, import), their vectors, their quality."""


def with_settings(command: Any) -> Any:
    """The arguments by which all these commands know data and settings."""
    command = click.argument("overrides", nargs=-1, metavar="[section.key=value]...")(command)
    return click.option(
        "--config", "config_file", type=FILE, help="YAML file whose data and profiles sections to use."
    )(command)


@profile.command()
@with_settings
@click.option("--dry-run", is_flag=True, help="Show requests, tokens and cost; send nothing.")
@click.option(
    "--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop when the store has cost so much."
)
@click.option(
    "--prices", "prices_file", type=FILE, help="YAML file of your prices; they come before the built-in."
)
@click.option("--batch", is_flag=True, help="Use the Batch API: half the price, answers within a day.")
@click.option("--yes", is_flag=True, help="Do not ask, however much it costs.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def run(
    overrides: tuple[str, ...],
    config_file: Path | None,
    dry_run: bool,
    max_cost: float | None,
    prices_file: Path | None,
    batch: bool,
    yes: bool,
    quiet: bool,
) -> None:
    """Ask a language model about items, then auxiliary entities, then users. Goes on where it was stopped."""
    from spike_dgl.commands.profile_progress import ProgressBars
    from spike_dgl.profiles.llm.estimate import Budget
    from spike_dgl.profiles.llm.forecast import estimate_generation
    from spike_dgl.profiles.llm.generate import generate
    from spike_dgl.profiles.llm.prices import read_prices
    from spike_dgl.profiles.llm.store import Store

    dataset, options = _load(config_file, overrides)
    prices = read_prices(prices_file)
    if dry_run:
        with _existing_store(options) as existing:
            estimates = estimate_generation(dataset, options, prices, existing, batch)
        click.echo(f"{_estimate_table(estimates)}\n\n{_notes(options, prices, batch)}\nNothing was sent.")
        return
    with Store.open(_store_path(options)) as store:
        estimates = estimate_generation(dataset, options, prices, store, batch)
        click.echo(_estimate_table(estimates))
        _confirm(estimates, options, max_cost, yes, store.spent())
        bars = ProgressBars(estimates, options.llm.client, quiet=quiet)
        try:
            outcome = generate(dataset, options, store, Budget(max_cost, prices), bars.show, batch=batch)
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command goes on, and pays nothing twice", err=True)
            sys.exit(130)
        finally:
            bars.close()
        click.echo(_summary(outcome, options))
        if outcome.has_nothing:
            raise SpikeError("no answer was usable\n  python main.py profile status says why.")


@profile.command()
@with_settings
def status(overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Done, failed and left by node type, tokens and money so far, and why requests failed."""
    from spike_dgl.markdown import markdown_table
    from spike_dgl.profiles.llm.pipeline import open_store
    from spike_dgl.profiles.llm.pipeline import status as status_of

    dataset, options = _load(config_file, overrides)
    with open_store(_store_path(options)) as store:
        rows = [["nodes", "all", "ready", "done", "failed", "in batch", "left", "tokens", "cost $"]]
        for stage in status_of(dataset, options, store):
            usage = store.usage(node_type=stage.node_type)
            counts = (stage.nodes, stage.ready, stage.done, stage.failed, stage.in_batch, stage.left)
            tokens = usage.prompt_tokens + usage.completion_tokens
            rows.append(
                [stage.node_type, *(f"{count:,}" for count in (*counts, tokens)), f"{usage.cost:.4f}"]
            )
        click.echo(markdown_table(rows))
        click.echo(_paid(store))
        for failure in store.failures():
            click.echo(f"{failure.node_type}: {failure.nodes:,} {failure.reason}, such as: {failure.example}")


@profile.command()
@click.argument("folder", type=FILE)
@with_settings
def export(folder: Path, overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Write the texts to FOLDER: profiles.json, and the authors' *_profiles.json."""
    from spike_dgl.profiles.llm.exchange import export_texts
    from spike_dgl.profiles.llm.pipeline import open_store

    dataset, options = _load(config_file, overrides)
    with open_store(_store_path(options)) as store:
        counts = export_texts(folder, dataset, options, store)
    click.echo(f"{folder}: {_counted(counts)}")


@profile.command(name="import")
@click.argument("file", type=FILE)
@with_settings
def import_(file: Path, overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Take the texts of FILE (profiles.json, or one of the authors') into the store; they are not asked for again."""
    from spike_dgl.data.training import TrainingData
    from spike_dgl.profiles.llm.exchange import import_texts
    from spike_dgl.profiles.llm.store import Store

    dataset, options = _load(config_file, overrides)
    with Store.open(_store_path(options)) as store:
        counts = import_texts(file, TrainingData.from_dataset(dataset), store)
    click.echo(f"{options.store}: {_counted(counts)}")


@profile.command()
@with_settings
@click.option(
    "--out", type=FILE, help="Folder for the authors' *_embeddings.npz; nothing is written without."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def encode(overrides: tuple[str, ...], config_file: Path | None, out: Path | None, quiet: bool) -> None:
    """Make the vectors of all profiles, or what is missing of them; choose by profiles.encoder."""
    from spike_dgl.profiles.build import build_profiles
    from spike_dgl.profiles.encoders.openai import OpenAIEncoder
    from spike_dgl.profiles.llm.prices import read_prices
    from spike_dgl.profiles.vector_files import write_vectors

    dataset, options = _load(config_file, overrides)
    profiles = build_profiles(dataset.replace(vectors=None), options, progress=not quiet)
    click.echo(f"{len(profiles.user_texts) + len(profiles.entity_texts):,} profiles by {profiles.encoder}")
    if isinstance(encoder := profiles.fitted_encoder, OpenAIEncoder):
        click.echo(
            f"Paid in this run: ${_dollars(encoder.cost(read_prices()))} for {encoder.tokens:,} tokens."
        )
    for file in write_vectors(out, profiles, dataset.num_items) if out is not None else ():
        click.echo(f"{file}")


@profile.command()
@with_settings
@click.option(
    "--judge", type=click.IntRange(min=1), metavar="N", help="Let a model mark N profiles a node type."
)
@click.option("--judge-model", default="gpt-4o-mini", show_default=True, help="The model that marks.")
@click.option(
    "--judge-store",
    type=FILE,
    default=Path("runs/judge.sqlite"),
    show_default=True,
    help="Keeps its answers.",
)
@click.option(
    "--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop when the judge has cost so much."
)
@click.option("--prices", "prices_file", type=FILE, help="YAML file of your prices.")
@click.option("--dry-run", is_flag=True, help="Show what the judge would cost; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask, however much it costs.")
def quality(
    overrides: tuple[str, ...],
    config_file: Path | None,
    judge: int | None,
    judge_model: str,
    judge_store: Path,
    max_cost: float | None,
    prices_file: Path | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Length, coverage, repetition, leaks and meaning of the profiles that training would use."""
    from spike_dgl.profiles.build import build_profiles
    from spike_dgl.profiles.judge import judge_requests
    from spike_dgl.profiles.llm.estimate import Budget
    from spike_dgl.profiles.llm.prices import read_prices
    from spike_dgl.profiles.quality import measure, render

    if judge is None and (dry_run or yes or max_cost is not None or prices_file is not None):
        raise click.UsageError("--dry-run, --yes, --max-cost and --prices are about a judge; add --judge N")
    dataset, options = _load(config_file, overrides)
    profiles = build_profiles(dataset, options, progress=True)
    click.echo(render(measure(dataset, profiles, options)))
    if judge is not None:
        # What a server wants of the parameters, it wants of all requests.
        model = replace(options.llm.completion("item"), model=judge_model)
        requests = judge_requests(dataset, profiles, options, model, number=judge)
        _judge(requests, options, judge_store, Budget(max_cost, read_prices(prices_file)), dry_run, yes)


def _judge(
    requests: Sequence[Request], options: ProfileOptions, file: Path, budget: Budget, dry_run: bool, yes: bool
) -> None:
    from spike_dgl.commands.profile_progress import ProgressBars
    from spike_dgl.profiles.judge import render
    from spike_dgl.profiles.llm.completion import complete
    from spike_dgl.profiles.llm.estimate import estimate
    from spike_dgl.profiles.llm.requests import JUDGE
    from spike_dgl.profiles.llm.store import Store

    client = options.llm.client
    if dry_run and not file.is_file():
        click.echo(f"\n{_estimate_table(estimate(requests, client, budget.prices))}\nNothing was sent.")
        return
    with Store.open(file) as store:
        estimates = estimate(requests, client, budget.prices, store)
        click.echo(f"\n{_estimate_table(estimates)}")
        if dry_run:
            click.echo("Nothing was sent.")
            return
        _confirm(estimates, options, budget.max_cost, yes, store.spent())
        bars = ProgressBars(estimates, client, quiet=False)
        try:
            outcome = complete(requests, store, client, budget, partial(bars.show, JUDGE))
        finally:
            bars.close()
        answers = store.answers([request.key for request in requests])
    click.echo(f"\n{render(requests, answers)}\nPaid in this run: ${outcome.cost:.4f}.")
    if outcome.stopped:
        click.echo(f"Stopped: {outcome.stopped}.")


def _load(config_file: Path | None, overrides: Sequence[str]) -> tuple[Dataset, ProfileOptions]:
    from spike_dgl.config import apply_overrides, build, dotted_keys, read_yaml
    from spike_dgl.data.options import DataOptions, load
    from spike_dgl.profiles.options import ProfileOptions

    known = [*dotted_keys(DataOptions, "data"), *dotted_keys(ProfileOptions, "profiles")]
    for key in (override.partition("=")[0] for override in overrides):
        if key.partition(".")[0] not in ("data", "profiles"):
            raise ConfigError(f"'{key}': here only settings of data and profiles can change")
    settings = apply_overrides(read_yaml(config_file) if config_file else {}, overrides, known)
    options = build(ProfileOptions, settings.get("profiles"), "profiles")
    return load(build(DataOptions, settings.get("data"), "data")), options


def _store_path(options: ProfileOptions) -> Path:
    if options.store is None:
        raise ConfigError("no store named: give a file that keeps the answers, profiles.store=FILE.sqlite")
    return Path(options.store)


def _existing_store(options: ProfileOptions) -> AbstractContextManager[Store | None]:
    """The store if there is one; a dry run creates none."""
    from spike_dgl.profiles.llm.store import Store

    exists = options.store is not None and Path(options.store).is_file()
    return Store.open(_store_path(options)) if exists else nullcontext()


def _estimate_table(estimates: Sequence[Estimate]) -> str:
    from spike_dgl.markdown import markdown_table

    rows = [["nodes", "model", "requests", "tokens sent", "tokens written", "cost $", "at most $"]]
    for one in estimates:
        sizes = (one.requests, one.prompt_tokens, one.completion_tokens)
        costs = (one.cost, one.highest_cost)
        rows.append([one.node_type, one.model, *(f"{size:,}" for size in sizes), *map(_dollars, costs)])
    totals = [
        sum(getattr(one, name) for one in estimates)
        for name in ("requests", "prompt_tokens", "completion_tokens")
    ]
    total_costs = (_total_cost(estimates), _sum([one.highest_cost for one in estimates]))
    rows.append(["all", "", *(f"{total:,}" for total in totals), *map(_dollars, total_costs)])
    return markdown_table(rows)


def _total_cost(estimates: Sequence[Estimate]) -> float | None:
    return _sum([one.cost for one in estimates])


def _sum(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:.4f}"


def _notes(options: ProfileOptions, prices: PriceTable, batch: bool) -> str:
    client = options.llm.client
    price = "free, since the server is local" if client.is_local else f"as of {prices.date} ({prices.source})"
    return (
        f"Server: {client.address}{', Batch API' if batch else ''}. Prices: {price}.\n"
        "Tokens are estimated, in prompts about entities and users with profiles of as many words as are asked for."
    )


def _confirm(
    estimates: Sequence[Estimate], options: ProfileOptions, max_cost: float | None, yes: bool, spent: float
) -> None:
    """Ask before more than `LlmOptions.confirm_above` is spent; a limit of cost counts as well."""
    cost, limit = _total_cost(estimates), options.llm.confirm_above
    if max_cost is not None:
        cost = max(max_cost - spent, 0.0) if cost is None else min(cost, max(max_cost - spent, 0.0))
    if yes or (cost is not None and cost <= limit):
        return
    shown = "an unknown amount" if cost is None else f"about ${cost:.2f}"
    if not sys.stdin.isatty():
        raise SpikeError(
            f"this will cost {shown}, more than profiles.llm.confirm_above ({limit:g})\n  Add --yes."
        )
    click.confirm(f"This will cost {shown}. Go on?", abort=True)


def _summary(generation: Generation, options: ProfileOptions) -> str:
    lines = []
    for node_type, outcome in generation.stages.items():
        parts = {
            "answered": outcome.answered,
            "stored before": outcome.stored,
            "failed": outcome.failed,
            "given up": outcome.given_up,
            "not sent": outcome.unsent,
        }
        counts = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
        lines.append(f"{node_type}: {counts or 'nothing to ask'}")
    lines.append(f"Paid in this run: ${generation.cost:.4f}.")
    if generation.stopped:
        lines.append(f"Stopped: {generation.stopped}. The same command with a higher limit goes on.")
    if generation.cut_prompts:
        lines.append(
            f"{generation.cut_prompts:,} answers were written from less than was sent: {_cut(options)}"
        )
    if generation.unanswered:
        lines.append(
            f"{generation.unanswered:,} nodes have no answer and keep their template profile; "
            "python main.py profile status says why."
        )
    lines.append(
        f"Train on it: python main.py train profiles.store={options.store}, with the same other settings."
    )
    return "\n".join(lines)


def _cut(options: ProfileOptions) -> str:
    from spike_dgl.commands.profile_progress import cut_prompts_note

    return cut_prompts_note(options.llm.client)


def _paid(store: Store) -> str:
    usage = store.usage()
    unpriced = f", and {usage.unpriced:,} responses of unknown price" if usage.unpriced else ""
    return f"Paid in all: ${usage.cost:.4f} for {usage.responses:,} responses{unpriced}."


def _counted(counts: Any) -> str:
    return ", ".join(f"{count:,} texts of nodes of type {node_type}" for node_type, count in counts.items())
