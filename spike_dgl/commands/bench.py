"""Commands of ``python main.py bench``: comparisons of models."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spike_dgl.commands.run_by_default import RunByDefault
from spike_dgl.errors import SpikeError

if TYPE_CHECKING:
    from spike_dgl.evaluation.evaluate import Split
    from spike_dgl.runs.export import ExportFormat

FILE = click.Path(path_type=Path)


@click.group(cls=RunByDefault)
def bench() -> None:
    """Compare models.

    Without a command: run.
    """


@bench.command()
@click.option(
    "--config", "config_file", type=FILE, help="Bench file: variants, seeds, settings; see configs/bench."
)
@click.option("--out", type=FILE, help="Folder of the study; runs/bench-NAME by default.")
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Number of parallel runs."
)
@click.option(
    "--export",
    "export_format",
    type=click.Choice(["recbole", "cornac"]),
    help="Also write splits, lists and metrics in the format of this library to OUT/export-LIBRARY.",
)
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
def run(
    config_file: Path | None,
    out: Path | None,
    jobs: int,
    export_format: ExportFormat | None,
    overrides: tuple[str, ...],
) -> None:
    """Run a study and print its table.

    A study is all variants of a bench file with all seeds. Finished runs are not repeated, and stopped runs are
    resumed. With --out only, the study in that folder is run.
    """
    from spike_dgl.comparison.definition import read_study
    from spike_dgl.comparison.folder import StudyFolder

    if out is None:
        if config_file is None:
            raise click.UsageError("give a bench file (--config) or the folder of a study (--out)")
        out = Path("runs") / f"bench-{config_file.stem}"
    folder = StudyFolder(out)
    study = read_study(config_file or folder.bench_file(), overrides)
    failures, planned = folder.run(study, jobs, say=click.echo), len(study.rows) * len(study.file.seeds)
    if len(failures) < planned:
        click.echo("\n" + folder.write_report(folder.comparison()))
        if export_format:
            click.echo(f"\n{folder.export(study, export_format)}")
    if failures:
        listed = "".join(f"\n  {name}: {failure}" for name, failure in failures.items())
        raise SpikeError(f"{len(failures)} of {planned} runs failed{listed}")


@bench.command()
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, help="Markdown file to write; printed by default.")
def report(file: Path, out: Path | None) -> None:
    """Write a page of several studies.

    FILE lists the studies' folders; see configs/bench/results.yaml.
    """
    from spike_dgl.atomic_files import atomic_write_for_user
    from spike_dgl.comparison.results_page import read_report, render_report

    page = render_report(read_report(file), file)
    if out is None:
        click.echo(page, nl=False)
        return
    with atomic_write_for_user(out) as partial:
        partial.write_text(page, encoding="utf-8")


@bench.command()
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per run and method.")
@click.option("--csv", "csv_file", type=FILE, help="Write the results to a CSV file, too.")
def cold(runs: tuple[Path, ...], split: Split, as_json: bool, csv_file: Path | None) -> None:
    """Evaluate RUNS on cold-start users and items.

    The baselines are popularity and the cosine of profiles. The runs must be trained with data.hidden_users and
    data.hidden_items above 0.
    """
    from spike_dgl.measure.cold_start import cold_results, render_cold
    from spike_dgl.runs.folder import RunFolder

    results = [cold_results(RunFolder.open(run), split) for run in runs]
    lines = [
        {"run": str(run), "split": split, **vars(way)}
        for run, ways in zip(runs, results, strict=True)
        for way in ways
    ]
    if csv_file is not None:
        _write_csv(csv_file, lines)
    click.echo("\n".join(map(json.dumps, lines)) if as_json else render_cold(results))


@bench.command()
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("--file", type=FILE, required=True, help="YAML list of queries; see configs/queries/.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per run, query and method.")
def queries(runs: tuple[Path, ...], file: Path, as_json: bool) -> None:
    """Evaluate RUNS on sentences that people type.

    A list of ten items is compared with the facts that make an item right.
    """
    from spike_dgl.measure.queries import query_results, read_queries, render_queries
    from spike_dgl.recommend.recommender import Recommender

    results = []
    for run in runs:
        recommender = Recommender.load(run)
        results.append(list(query_results(recommender, read_queries(file, recommender.dataset))))
    lines = [
        {"run": str(run), **vars(each)} for run, found in zip(runs, results, strict=True) for each in found
    ]
    click.echo("\n".join(map(json.dumps, lines)) if as_json else render_queries(results))


def _write_csv(file: Path, lines: Sequence[Mapping[str, object]]) -> None:
    from spike_dgl.atomic_files import atomic_write_for_user

    with atomic_write_for_user(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


@bench.command()
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option(
    "--users", default=200, show_default=True, type=click.IntRange(min=2), help="Number of users per run."
)
def fidelity(runs: tuple[Path, ...], users: int) -> None:
    """Measure the fidelity of explanations.

    Compares the score drops after removing the paths that explain SPiKE RUNS with those of random paths.
    """
    from spike_dgl.explain import Explainer
    from spike_dgl.explain.fidelity import measure, render

    click.echo(render([measure(Explainer.load(run), users) for run in runs]))
