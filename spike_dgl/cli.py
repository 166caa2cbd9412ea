"""Commands of ``python main.py``: they parse arguments, call the package, and print."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spike_dgl.commands.bench import bench
from spike_dgl.commands.data import data, prepare
from spike_dgl.commands.duration import Duration
from spike_dgl.commands.explain import explain
from spike_dgl.commands.export import export
from spike_dgl.commands.partition import partition
from spike_dgl.commands.profile import profile
from spike_dgl.commands.recommend import embeddings, recommend, show_list, show_user, similar
from spike_dgl.commands.serve import serve
from spike_dgl.commands.settings import settings
from spike_dgl.commands.speed import speed
from spike_dgl.commands.tune import tune
from spike_dgl.errors import SpikeError, SpikeWarning, lack_of_memory_explained
from spike_dgl.threads import wait_passively

# Commands import torch and DGL when they run, since these take seconds and --help should not.
if TYPE_CHECKING:
    from spike_dgl.data.dataset import Dataset
    from spike_dgl.evaluation.evaluate import Split
    from spike_dgl.profiles.records import Sources
    from spike_dgl.recommend.recommender import Recommender
    from spike_dgl.runs.config import RunConfig
    from spike_dgl.runs.experiment import Experiment

EXISTING = click.Path(path_type=Path)


def main() -> None:
    """Run a command; print a `SpikeError` as one message without traceback, and exit with code 2."""
    wait_passively()
    sys.path.append(os.getcwd())  # for model.name=my_module:MyModel, also from the installed script
    try:
        with warnings.catch_warnings(), lack_of_memory_explained():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            cli()
    except SpikeError as error:
        if _is_first_process() or not error.same_in_all_processes:
            click.echo(f"error: {error}", err=True)
        signal_number = getattr(error, "signal_number", None)
        sys.exit(2 if signal_number is None else 128 + signal_number)


def _show_warning(others: Callable[..., None], message: Warning | str, *rest: Any, **named: Any) -> None:
    """Print a `SpikeWarning` as one line; show all other warnings with `others`."""
    if isinstance(message, SpikeWarning):
        click.echo(f"note: {message}", err=True)
    else:
        others(message, *rest, **named)


def _is_first_process() -> bool:
    """Return whether this is the first of the processes that torchrun started, or the only process."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spike_dgl")
def cli() -> None:
    """SPiKE on DGL: recommendation with knowledge graphs and LLM-written profiles."""


cli.add_command(profile)
cli.add_command(data)
cli.add_command(prepare)
cli.add_command(partition)
cli.add_command(tune)
cli.add_command(settings)
cli.add_command(export)
cli.add_command(explain)
cli.add_command(bench)
cli.add_command(speed)
cli.add_command(serve)
cli.add_command(recommend)
cli.add_command(similar)
cli.add_command(embeddings)


@cli.command()
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
@click.option("--config", "config_file", type=EXISTING, help="YAML file of settings; see configs/.")
@click.option("--out", type=EXISTING, help="Run folder to write; runs/DATA-MODEL-seedN by default.")
@click.option("--resume", type=EXISTING, metavar="RUN", help="Resume a stopped run.")
@click.option("--show-config", is_flag=True, help="Print all settings and exit.")
@click.option("--no-test", is_flag=True, help="Skip the test; --resume RUN runs it later.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@click.option("--partitions", type=EXISTING, help="Train on parts of the graph; see docs/distributed.md.")
@click.option(
    "--trainers", type=click.IntRange(min=1), default=1, help="Trainers per host with --partitions."
)
@click.option(
    "--regime",
    type=click.Choice(["auto", "any-order", "in-order"]),
    help="Train SPiKE in any order or in the order of time, or choose (auto) by short runs; see docs/training.md.",
)
@click.option(
    "--budget",
    default=300.0,
    show_default=True,
    type=Duration(min=0, min_open=True),
    help="Training time of the short runs, such as 600 (seconds) or 10m.",
)
def train(
    overrides: tuple[str, ...],
    config_file: Path | None,
    out: Path | None,
    resume: Path | None,
    show_config: bool,
    no_test: bool,
    quiet: bool,
    partitions: Path | None,
    trainers: int,
    regime: str | None,
    budget: float,
) -> None:
    """Train and test a model, and print a list. Without arguments: SPiKE on the bundled MovieLens.

    With several processes or GPUs: torchrun --nproc_per_node=N main.py train ...
    """
    started = time.perf_counter()
    from spike_dgl.runs.choice import settle, start_in_regime
    from spike_dgl.runs.config import RunConfig, read_settings
    from spike_dgl.runs.folder import RunFolder
    from spike_dgl.runs.set_up import new_folder, reopen
    from spike_dgl.training.distributed import join_processes

    if resume is not None and (config_file is not None or out is not None or show_config or regime):
        raise click.UsageError(
            "--resume uses the settings and folder of the run; leave out --config, --out, --show-config, --regime"
        )
    if show_config:
        settings = read_settings(config_file, overrides)
        click.echo(settle(settings, None if regime == "auto" else regime)[0].to_yaml(), nl=False)
        return
    if partitions is not None:
        if regime:
            raise click.UsageError("--partitions trains in any order; leave out --regime")
        from spike_dgl.partitions.run import Command, train_on_partitions

        asked = Command(partitions, overrides, config_file, out, resume, trainers, not no_test, not quiet)
        done = train_on_partitions(asked)
        peaks = ", ".join(f"{name} {size:,.0f} MB" for name, size in done.peaks_mb.items())
        click.echo(f"peak memory on this host: {peaks}")
        if done.folder is not None and not no_test:
            click.echo("\n" + done.folder.file("RESULT.md").read_text(encoding="utf-8"))
            click.echo(f"More: python main.py recommend {done.folder.path} --user USER -k 10")
        return
    with join_processes() as processes:
        if resume is not None:
            experiment = reopen(RunFolder.open(resume), overrides, processes=processes)
        else:
            settings = read_settings(config_file, overrides)
            config = RunConfig.from_mapping(settings)
            folder = processes.on_rank_zero(lambda: new_folder(config, out))
            experiment = start_in_regime(
                settings,
                folder,
                processes,
                regime=regime,
                budget=budget,
                say=click.echo,
                progress=not quiet,
                inspect=lambda dataset: _show_data(dataset, config, regime),
            )
        if processes.is_first:
            _announce(experiment, time.perf_counter() - started)
        if no_test:
            experiment.train_untested(resume=resume is not None, progress=not quiet)
            return
        experiment.train(resume=resume is not None, progress=not quiet)
        if processes.is_first:
            _show_result(experiment)


def _show_data(dataset: Dataset, config: RunConfig, regime: str | None) -> None:
    """Print the findings of the audit, and that there is a regime to choose; for the bundled data there is not."""
    from spike_dgl.data.audit import in_short
    from spike_dgl.data.load import BUNDLED
    from spike_dgl.runs.choice import hint

    path = config.data.path
    if lines := in_short(dataset):
        click.echo("\n".join([*lines, f"what this means: python main.py data {path}"]))
    if regime is None and path != BUNDLED and (said := hint(config, dataset)):
        click.echo(f"note: {said}")


def _announce(experiment: Experiment, seconds: float) -> None:
    data = experiment.dataset
    click.echo(
        f"{experiment.config.model_name} on {data.name}: {data.num_users:,} users, {data.num_items:,} items, "
        f"{len(data.train):,} training interactions, {len(data.triples):,} triples -> {experiment.folder.path}"
    )
    sources = experiment.profile_sources
    shares = (f"{side}: {_shares(of_side)}" for side, of_side in vars(sources).items())
    click.echo(f"profiles of {'; '.join(shares)}")
    click.echo(f"set up in {seconds:.1f} s")


def _shares(sources: Sources) -> str:
    from spike_dgl.profiles.records import counted

    return ", ".join(f"{count:,} {source}" for source, count in counted(sources).items())


def _show_result(experiment: Experiment) -> None:
    run = experiment.folder.path
    click.echo("\n" + experiment.folder.file("RESULT.md").read_text(encoding="utf-8"))
    recommender = _recommender_of(experiment)
    user = experiment.dataset.users.ids[0]
    show_user(recommender, user)
    show_list(recommender.recommend(user, 10))
    click.echo(f"\nMore: python main.py recommend {run} --user {user} -k 10")


def _recommender_of(experiment: Experiment) -> Recommender:
    """Return the recommender of a tested run, without fitting its model again."""
    from spike_dgl.models.base import EmbeddingModel
    from spike_dgl.recommend.fitted import FittedRecommender
    from spike_dgl.recommend.recommender import Recommender
    from spike_dgl.runs.embeddings import read_embeddings

    if not isinstance(experiment.model, EmbeddingModel):
        return FittedRecommender(experiment.dataset, experiment.best_scores(), experiment.config.model_name)
    stored = read_embeddings(experiment.folder)
    return Recommender(experiment.dataset, stored["users"], stored["items"])


@cli.command()
@click.argument("run", type=EXISTING)
@click.argument("overrides", nargs=-1, metavar="[evaluation.key=value]...")
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: Path, overrides: tuple[str, ...], split: Split, as_json: bool) -> None:
    """Print the ranking metrics of RUN, and those beyond accuracy.

    Ranks all items for each user of the validation or test split, with the weights of the reported epoch.
    """
    from spike_dgl.evaluation import render_groups
    from spike_dgl.runs.folder import RunFolder
    from spike_dgl.runs.report import beyond_accuracy_table, metrics_table
    from spike_dgl.runs.set_up import reopen

    experiment = reopen(RunFolder.open(run), overrides, section="evaluation")
    evaluation = experiment.evaluate(experiment.best_scores(), split)
    beyond = evaluation.beyond_accuracy(experiment.dataset, experiment.item_vectors)
    if as_json:
        click.echo(json.dumps({"split": split, **evaluation.means, "beyond_accuracy": beyond}))
        return
    tables = [
        metrics_table(evaluation.means, evaluation.cutoffs),
        beyond_accuracy_table(beyond, evaluation.cutoffs),
        render_groups(evaluation, experiment.dataset, experiment.profile_sources),
    ]
    click.echo("\n\n".join([f"{split} split", *tables]))


@cli.command()
@click.argument("runs", type=EXISTING, nargs=-1, required=True)
def results(runs: tuple[Path, ...]) -> None:
    """Print one table of finished RUNS.

    Runs that differ in their seeds only are one row: mean and standard deviation.
    """
    from spike_dgl.runs.averages import results_table
    from spike_dgl.runs.folder import RunFolder

    click.echo(results_table([RunFolder.open(run) for run in runs]))


@cli.command()
def doctor() -> None:
    """Check the installation.

    Checks versions, devices, and message passing against known values.
    """
    from spike_dgl.doctor import diagnose, render

    checks = diagnose()
    click.echo(render(checks))
    if not all(check.passed for check in checks):
        sys.exit(2)
