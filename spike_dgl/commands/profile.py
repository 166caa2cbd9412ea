"""Commands of ``python main.py profile``: profile texts by a language model, their vectors and their quality."""

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
    """Write profiles with a language model (run, the default), show, export or import them, encode and assess them."""


def with_settings(command: Any) -> Any:
    """Add the arguments for data and settings to a command."""
    command = click.argument("overrides", nargs=-1, metavar="[section.key=value]...")(command)
    return click.option(
        "--config", "config_file", type=FILE, help="YAML file with the sections data and profiles."
    )(command)


@profile.command()
@with_settings
@click.option("--dry-run", is_flag=True, help="Show the number of requests, tokens and cost; send nothing.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Stop when the total cost of the store reaches USD.",
)
@click.option(
    "--prices",
    "prices_file",
    type=FILE,
    help="YAML file with your prices; they override the built-in prices.",
)
@click.option("--batch", is_flag=True, help="Use the Batch API: half the price, answers within a day.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation, whatever the cost.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
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
    """Write profiles of items, then auxiliary entities, then users. Continue a stopped run."""
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
            click.echo("\nstopped; the same command continues the run, stored answers cost nothing", err=True)
            sys.exit(130)
        finally:
            bars.close()
        click.echo(_summary(outcome, options))
        if outcome.has_nothing:
            raise SpikeError("no answer was usable\n  python main.py profile status shows the reasons.")


@profile.command()
@with_settings
def status(overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Show progress by node type, tokens and cost so far, and why requests failed."""
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
@click.argument("file", type=FILE)
@with_settings
@click.option(
    "--again", is_flag=True, help="Write also requests of earlier files, whose answers will not come."
)
def requests(file: Path, overrides: tuple[str, ...], config_file: Path | None, again: bool) -> None:
    """Write the next requests to FILE, in OpenAI's batch format, for an engine that runs elsewhere.

    Items come first, then auxiliary entities, then users. Read the answers before you write the next requests.
    """
    from spike_dgl.profiles.llm.offline import write_requests
    from spike_dgl.profiles.llm.store import Store

    dataset, options = _load(config_file, overrides)
    with Store.open(_store_path(options)) as store:
        written = write_requests(file, dataset, options, store, again=again)
    if written.number:
        click.echo(f"{file}: {written.number:,} requests, node type {written.node_type}")
    if written.waiting:
        click.echo(f"{written.waiting:,} requests, node type {written.node_type}, wait for their answers")
    if written.node_type is None:
        click.echo("no request is left")


@profile.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE... [section.key=value]...")
@click.option("--config", "config_file", type=FILE, help="YAML file whose data and profiles sections to use.")
@click.option(
    "--prices", "prices_file", type=FILE, help="YAML file with prices, which replace the bundled ones."
)
def answers(files: tuple[str, ...], config_file: Path | None, prices_file: Path | None) -> None:
    """Store the answers in FILE..., which an engine wrote to the requests of `profile requests`.

    Each line is a JSON object as OpenAI's Batch API and vLLM's run-batch write it, or has custom_id and generated_text.
    """
    from spike_dgl.profiles.llm.estimate import Budget
    from spike_dgl.profiles.llm.offline import read_answers
    from spike_dgl.profiles.llm.prices import read_prices
    from spike_dgl.profiles.llm.store import Store

    paths = [Path(each) for each in files if "=" not in each or Path(each).is_file()]
    if not paths:
        raise click.UsageError("name at least one file of answers")
    overrides = [each for each in files if Path(each) not in paths]
    dataset, options = _load(config_file, overrides)
    with Store.open(_store_path(options)) as store:
        read = read_answers(paths, dataset, options, store, Budget(prices=read_prices(prices_file)))
    click.echo(
        f"{read.answered:,} answers stored, {read.failed:,} rejected, {read.missing:,} requests without an answer"
    )
    if read.unexpected:
        click.echo(f"{read.unexpected:,} lines left out: this store does not wait for them")


@profile.command()
@click.argument("folder", type=FILE)
@with_settings
def export(folder: Path, overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Write the texts to FOLDER, as profiles.json and in the authors' format (*_profiles.json)."""
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
    """Add the texts of FILE (profiles.json, or an authors' file) to the store. No requests are sent for them."""
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
    "--out",
    type=FILE,
    help="Folder for *_embeddings.npz, in the authors' format; without it, none are written.",
)
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def encode(overrides: tuple[str, ...], config_file: Path | None, out: Path | None, quiet: bool) -> None:
    """Encode all profiles with profiles.encoder. Only vectors that are not in the cache are computed."""
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
    "--judge", type=click.IntRange(min=1), metavar="N", help="Let a model rate N profiles per node type."
)
@click.option("--judge-model", default="gpt-4o-mini", show_default=True, help="Model that rates profiles.")
@click.option(
    "--judge-store",
    type=FILE,
    default=Path("runs/judge.sqlite"),
    show_default=True,
    help="SQLite file of its answers.",
)
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Stop when the judge's total cost reaches USD.",
)
@click.option("--prices", "prices_file", type=FILE, help="YAML file with your prices.")
@click.option("--dry-run", is_flag=True, help="Show what the judge would cost; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation, whatever the cost.")
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
    """Measure length, coverage, repetition, leaks and neighbour similarity of the profiles that training would use."""
    from spike_dgl.profiles.build import build_profiles
    from spike_dgl.profiles.judge import judge_requests
    from spike_dgl.profiles.llm.estimate import Budget
    from spike_dgl.profiles.llm.prices import read_prices
    from spike_dgl.profiles.quality import measure, render

    if judge is None and (dry_run or yes or max_cost is not None or prices_file is not None):
        raise click.UsageError("--dry-run, --yes, --max-cost and --prices need --judge N")
    dataset, options = _load(config_file, overrides)
    profiles = build_profiles(dataset, options, progress=True)
    click.echo(render(measure(dataset, profiles, options)))
    if judge is not None:
        # The judge's requests keep the other parameters, since the same server has to accept them.
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
            raise ConfigError(f"'{key}': this command has only settings of data and profiles")
    settings = apply_overrides(read_yaml(config_file) if config_file else {}, overrides, known)
    options = build(ProfileOptions, settings.get("profiles"), "profiles")
    return load(build(DataOptions, settings.get("data"), "data")), options


def _store_path(options: ProfileOptions) -> Path:
    if options.store is None:
        raise ConfigError(
            "profiles.store is not set\n  Name a file for the answers: profiles.store=FILE.sqlite"
        )
    return Path(options.store)


def _existing_store(options: ProfileOptions) -> AbstractContextManager[Store | None]:
    """Open the store if its file exists, so that a dry run creates none."""
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
    price = "none for a local server" if client.is_local else f"as of {prices.date} ({prices.source})"
    return (
        f"Server: {client.address}{', Batch API' if batch else ''}. Prices: {price}.\n"
        "Tokens are estimates. Profiles quoted in prompts for entities and users count with their maximum length."
    )


def _confirm(
    estimates: Sequence[Estimate], options: ProfileOptions, max_cost: float | None, yes: bool, spent: float
) -> None:
    """Ask for confirmation if a run may cost more than `LlmOptions.confirm_above`; `max_cost` bounds its cost."""
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
    click.confirm(f"This will cost {shown}. Continue?", abort=True)


def _summary(generation: Generation, options: ProfileOptions) -> str:
    lines = []
    for node_type, outcome in generation.stages.items():
        parts = {
            "answered": outcome.answered,
            "already stored": outcome.stored,
            "failed": outcome.failed,
            "given up": outcome.given_up,
            "not sent": outcome.unsent,
        }
        counts = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
        lines.append(f"{node_type}: {counts or 'no requests needed'}")
    lines.append(f"Paid in this run: ${generation.cost:.4f}.")
    if generation.stopped:
        lines.append(f"Stopped: {generation.stopped}. To continue, run the command with a higher limit.")
    if generation.cut_prompts:
        lines.append(f"{generation.cut_prompts:,} answers are based on a truncated prompt: {_cut(options)}")
    if generation.unanswered:
        lines.append(
            f"{generation.unanswered:,} nodes have no answer and keep their template profile; "
            "python main.py profile status shows the reasons."
        )
    lines.append(
        f"Train with these profiles: python main.py train profiles.store={options.store}, other settings unchanged."
    )
    return "\n".join(lines)


def _cut(options: ProfileOptions) -> str:
    from spike_dgl.commands.profile_progress import cut_prompts_note

    return cut_prompts_note(options.llm.client)


def _paid(store: Store) -> str:
    usage = store.usage()
    unpriced = f", and {usage.unpriced:,} responses of unknown price" if usage.unpriced else ""
    return f"Paid in total: ${usage.cost:.4f} for {usage.responses:,} responses{unpriced}."


def _counted(counts: Any) -> str:
    return ", ".join(f"{count:,} {node_type} texts" for node_type, count in counts.items())
