"""The commands of ``python main.py bench``: which model is better, and how fast things are."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spike_dgl.commands.run_by_default import RunByDefault
from spike_dgl.errors import SpikeError
from spike_dgl.threads import use_threads

if TYPE_CHECKING:
    from spike_dgl.evaluation.evaluate import Split
    from spike_dgl.export import ExportFormat

FILE = click.Path(path_type=Path)


@click.group(cls=RunByDefault)
def bench() -> None:
    """Compare models (run, the default; report), and measure speed, scaling, sampling and explanations."""


@bench.command()
@click.option(
    "--config", "config_file", type=FILE, help="Bench file: variants, seeds, settings; see configs/bench."
)
@click.option("--out", type=FILE, help="Folder of the study; runs/bench-NAME by default.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Runs at a time.")
@click.option(
    "--export",
    "export_format",
    type=click.Choice(["recbole", "cornac"]),
    help="Write split, lists and metrics for that library too, to OUT/export-LIBRARY.",
)
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
def run(
    config_file: Path | None,
    out: Path | None,
    jobs: int,
    export_format: ExportFormat | None,
    overrides: tuple[str, ...],
) -> None:
    """Run the variants of a bench file with every seed, where they are missing, and print one table.

    Finished runs are not run again, and stopped ones go on. With --out alone: the study that is in that folder.
    """
    from spike_dgl.comparison.definition import read_study
    from spike_dgl.comparison.folder import StudyFolder

    if out is None:
        if config_file is None:
            raise click.UsageError("name a bench file (--config), or the folder of a study (--out)")
        out = Path("runs") / f"bench-{config_file.stem}"
    folder = StudyFolder(out)
    study = read_study(config_file or folder.bench_file(), overrides)
    failures = folder.run(study, jobs, say=click.echo)
    click.echo("\n" + folder.write_report(folder.comparison()))
    if export_format:
        click.echo(f"\n{folder.export(study, export_format)}")
    if failures:
        listed = "".join(f"\n  {name}: {failure}" for name, failure in failures.items())
        raise SpikeError(f"{len(failures)} of {len(study.rows) * len(study.file.seeds)} runs failed{listed}")


@bench.command()
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, help="Markdown file to write; printed by default.")
def report(file: Path, out: Path | None) -> None:
    """Write the tables of several studies, and what they say, as one page from their folders.

    FILE lists the folders; see configs/bench/results.yaml.
    """
    from spike_dgl.comparison.report import read_report, render_report
    from spike_dgl.training.whole_file import file_to_hand_out

    page = render_report(read_report(file), file)
    if out is None:
        click.echo(page, nl=False)
        return
    with file_to_hand_out(out) as partial:
        partial.write_text(page, encoding="utf-8")


@bench.command()
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a run and way.")
@click.option("--csv", "csv_file", type=FILE, help="Write the same to a CSV file.")
def cold(runs: tuple[Path, ...], split: Split, as_json: bool, csv_file: Path | None) -> None:
    """How well RUNS serve users and items they have never seen, against popularity and the cosine of profiles.

    They are trained with data.hidden_users and data.hidden_items above 0.
    """
    from spike_dgl.measure.cold_start import cold_results, render_cold
    from spike_dgl.training.tracking import RunFolder

    results = [cold_results(RunFolder.open(run), split) for run in runs]
    lines = [
        {"run": str(run), "split": split, **vars(way)}
        for run, ways in zip(runs, results, strict=True)
        for way in ways
    ]
    if csv_file is not None:
        _write_csv(csv_file, lines)
    click.echo("\n".join(map(json.dumps, lines)) if as_json else render_cold(results))


def _write_csv(file: Path, lines: Sequence[Mapping[str, object]]) -> None:
    from spike_dgl.training.whole_file import file_to_hand_out

    with file_to_hand_out(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


@bench.command()
@click.argument("path", default="")
@click.option(
    "--nodes", default=30_000, show_default=True, help="Nodes of a generated graph, where no PATH is given."
)
@click.option("--edges", default=250_000, show_default=True, help="Its edges.")
@click.option("--relations", default=9, show_default=True, help="Its relations.")
@click.option("--batch-size", default=4096, show_default=True)
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all by default.")
def speed(
    path: str, nodes: int, edges: int, relations: int, batch_size: int, repeats: int, threads: int | None
) -> None:
    """Ours against the straightforward formulation, on the data set in PATH or on a generated graph.

    What of the straightforward one would not fit in memory is left out.
    """
    from spike_dgl.measure.speed import Workload, compare

    use_threads(threads)
    size = (0, 0, 0) if path else (nodes, edges, relations)
    click.echo(compare(Workload(path, *size, batch_size), repeats=repeats))


@bench.command()
@click.option(
    "--nodes",
    default=2_000,
    show_default=True,
    help="Nodes of the smallest graph; there are ten times as many edges.",
)
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all by default.")
def scaling(nodes: int, repeats: int, threads: int | None) -> None:
    """Time and memory of a training step as the graph grows tenfold and a hundredfold."""
    from spike_dgl.measure.speed import Workload, scale

    use_threads(threads)
    sizes = [
        Workload(num_nodes=nodes * factor, num_edges=10 * nodes * factor, num_relations=9)
        for factor in (1, 10, 100)
    ]
    click.echo(scale(sizes, repeats=repeats))


@bench.command()
@click.argument("path", default="")
@click.option(
    "--nodes", default=20_000, show_default=True, help="Nodes of the smallest graph, where no PATH is given."
)
@click.option(
    "--fanout",
    multiple=True,
    default=(10, 10),
    show_default=True,
    help="Neighbours a layer, once a layer.",
    type=click.IntRange(min=-1),
)
@click.option("--batch-size", default=512, show_default=True)
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all by default.")
def sampling(
    path: str, nodes: int, fanout: tuple[int, ...], batch_size: int, repeats: int, threads: int | None
) -> None:
    """A step on sampled neighbours against one on the whole graph, on the data set in PATH or as a graph grows.

    First its edges grow tenfold, then its nodes.
    """
    from spike_dgl.measure.speed import Workload, compare_sampled

    use_threads(threads)
    workloads = [Workload(path=path, batch_size=batch_size)]
    if not path:
        sizes = ((nodes, 10 * nodes), (nodes, 100 * nodes), (10 * nodes, 100 * nodes))
        workloads = [Workload("", *size, 9, batch_size) for size in sizes]
    click.echo(compare_sampled(workloads, fanout, repeats=repeats))


@bench.command()
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("--users", default=200, show_default=True, type=click.IntRange(min=2), help="Users of a run.")
def fidelity(runs: tuple[Path, ...], users: int) -> None:
    """Whether the paths that explain RUNS of SPiKE matter: score drops by their removal, against random paths."""
    from spike_dgl.explain import Explainer
    from spike_dgl.explain.fidelity import measure, render

    click.echo(render([measure(Explainer.load(run), users) for run in runs]))


@bench.command()
@click.argument("run", type=FILE)
@click.option("--calls", default=1000, show_default=True, type=click.IntRange(min=1), help="Of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a kind of call.")
def latency(run: Path, calls: int, as_json: bool) -> None:
    """How long RUN takes to load, and to answer known users and new ones, on one thread."""
    from spike_dgl.measure.latency import measure, render

    found = measure(run, calls)
    click.echo("\n".join(json.dumps(vars(one)) for one in found) if as_json else render(run, found))
