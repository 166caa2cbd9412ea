"""``python main.py tune``: hyperparameter search on validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spike_dgl.errors import SpikeError

if TYPE_CHECKING:
    from spike_dgl.tuning.samplers import SamplerName

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]... [section.key=value]...")
@click.option(
    "--config",
    "config_file",
    type=FILE,
    help="Bench file or run configuration. Default: the default settings.",
)
@click.option(
    "--trials", default=20, show_default=True, type=click.IntRange(min=1), help="Number of runs per model."
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Random seed of the search."
)
@click.option(
    "--sampler",
    default="random",
    show_default=True,
    type=click.Choice(["random", "optuna"]),
    help="random search, or Optuna's TPE.",
)
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of seeds per finalist; above 1, the best mean is chosen.",
)
@click.option(
    "--finalists",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of best trials that are run with several seeds.",
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Number of parallel runs."
)
@click.option("--out", type=FILE, help="Folder of the trials; runs/tune-NAME by default.")
@click.option(
    "--write",
    default=Path("configs/tuned"),
    show_default=True,
    type=FILE,
    help="Folder for the best settings, written to WRITE/DATA/MODEL.yaml.",
)
def tune(
    models: tuple[str, ...],
    config_file: Path | None,
    trials: int,
    seed: int,
    sampler: SamplerName,
    seeds: int,
    finalists: int,
    jobs: int,
    out: Path | None,
    write: Path,
) -> None:
    """Search hyperparameters on validation.

    With data.inner_split=true, settings are chosen on the test split of the inner split instead.

    MODEL: all models of the bench file, or the one of the configuration, by default. Each model has its own search
    space and the same number of trials; the first trial has the given settings. Finished trials are not repeated, and
    stopped trials are resumed.
    """
    from spike_dgl.comparison.definition import tuned_file
    from spike_dgl.runs.folder_lock import only_one
    from spike_dgl.tuning.contenders import read_contenders
    from spike_dgl.tuning.search import Budget, fit_to_data, search
    from spike_dgl.tuning.search_results import check_tuned_file, render_summary, write_tables, write_tuned

    overrides = [argument for argument in models if "=" in argument]
    names = [argument for argument in models if "=" not in argument]
    budget = Budget(trials, seed, sampler, jobs, finalists, seeds)
    contenders = read_contenders(config_file, names, overrides)
    if out is None:
        data = Path(contenders[0].config({}).data.path).name
        out = Path("runs") / f"tune-{config_file.stem if config_file else data}"
    to_tune = [contender for contender in contenders if contender.grid.values]
    for contender in contenders:
        if contender not in to_tune:
            click.echo(f"{contender.model} has no settings to tune")
        elif contender.held:
            click.echo(f"{contender.model}: {', '.join(contender.held)} not tuned, but kept as given")
    to_tune = fit_to_data(to_tune)
    for contender in to_tune:  # check all before the first run
        check_tuned_file(tuned_file(write, contender.config({}).data.path, contender.model), contender)
    found = []
    with only_one(out):
        for contender in to_tune:
            done = search(contender, budget, out / contender.model, click.echo)
            write_tables(done, out / contender.model)
            found.append(done)
            if any(trial.value is not None for trial in done):
                click.echo(f"{contender.model}: {write_tuned(contender, done, budget, write)}")
    if found:
        click.echo("\n" + render_summary(found))
    nothing = [done[0].run.config.model_name for done in found if all(trial.value is None for trial in done)]
    if nothing:
        raise SpikeError(f"all trials of {', '.join(nothing)} failed; the lines above name their log files")
