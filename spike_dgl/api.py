"""Training a model and using it, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from spike_dgl.config import merge, nested, read_yaml
from spike_dgl.errors import DataError
from spike_dgl.runs.choice import BUDGET, as_recorded, start_in_regime
from spike_dgl.runs.config import RunConfig, config_of, with_absolute_paths
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.processes import PlannedRun
from spike_dgl.runs.regimes import RegimeName
from spike_dgl.runs.set_up import new_folder, reopen

if TYPE_CHECKING:
    from spike_dgl.data.dataset import Dataset
    from spike_dgl.evaluation.evaluate import Evaluation, Split
    from spike_dgl.explain.explainer import Explainer
    from spike_dgl.explain.explanation import Explanation
    from spike_dgl.recommend.recommender import Recommender, ScoredItem
    from spike_dgl.training.devices import Device


def train(
    data: str | Path | None = None,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    regime: RegimeName | None = None,
    budget: float = BUDGET,
    **training: Any,
) -> Run:
    """Train a model, test it once, and return the finished run.

    The function does what ``python main.py train`` does: it writes a run folder with all settings, every epoch,
    checkpoints and the result, so that the run can be opened again with `Run.open`.

    Parameters
    ----------
    data
        Folder of a data set, or ``"movielens"`` for the bundled one. By default what `config` says, or the bundled one.
    model
        Name of a model such as ``"lightgcn"``, or ``"package.module:Class"`` for one of your own. By default what
        `config` says, or ``"spike"``.
    config
        YAML file with settings, such as those in ``configs/``.
    settings
        Further settings by dotted key, such as ``{"model.num_layers": 2, "data.split_seed": 1}``.
    out
        Run folder to write; ``runs/DATA-MODEL-seedN`` by default.
    resume
        If `out` holds a run with these settings, go on with it, or return it if it is finished.
    progress
        Whether to show a progress bar, and to print which training regime is chosen and whether the run is below a
        baseline (see `Run.baselines`).
    regime
        Training regime of SPiKE: ``"any-order"``, ``"in-order"`` (of time), or ``"auto"`` to choose by short runs on
        the inner split; None for the settings as they are. Settings take precedence over those of the regime. A
        resumed run keeps its regime.
    budget
        Seconds of training for the short runs together.
    **training
        Settings of the training section, such as ``epochs``, ``learning_rate``, ``seed`` and ``device``.

    Raises
    ------
    ConfigError
        If a setting is unknown, of the wrong type, or out of range, or if `out` holds a run with other settings.
    DataError
        If the data is missing or broken.
    SpikeError
        If `out` exists and `resume` is false, or if another program writes to it.

    Examples
    --------
    >>> run = train("movielens", model="lightgcn", epochs=1, progress=False)
    >>> run
    Run('runs/movielens-lightgcn-seed2020')
    >>> 0 < run.metrics["recall@20"] < 1
    True
    """
    named = {"data.path": data and str(data), "model.name": model}
    given = {key: value for key, value in named.items() if value is not None}
    given |= {f"training.{name}": value for name, value in training.items()}
    file = {} if config is None else read_yaml(Path(config))
    by_section = merge(file, nested(given | dict(settings or {})))
    run_config = RunConfig.from_mapping(by_section)
    path = None if out is None else Path(out)
    if resume and path is not None:
        recorded = RunFolder(path).regime() if regime in (None, "auto") else {"name": regime}
        planned = PlannedRun(path.name, with_absolute_paths(as_recorded(by_section, recorded)), path)
        planned.check_settings()
        if planned.is_finished:
            return Run.open(path)
        if planned.is_started:
            folder = RunFolder.open(path)
            reopen(folder).train(resume=True, progress=progress)
            return _finished(folder, progress)
    folder = new_folder(run_config, path)
    experiment = start_in_regime(
        by_section,
        folder,
        regime=regime,
        budget=budget,
        say=print if progress else _silent,
        progress=progress,
    )
    experiment.train(progress=progress)
    return _finished(folder, progress)


def _silent(_: str) -> None:
    """Print nothing."""


def _finished(folder: RunFolder, progress: bool) -> Run:
    """Return the run; with `progress`, print whether it is below a baseline."""
    run = Run(folder)
    if progress and run.below_baselines:
        print(*run.below_baselines, sep="\n")
    return run


class Run:
    """A finished run: its metrics, its top-k lists and their explanations.

    In a notebook, a run displays its result.

    Parameters
    ----------
    folder
        The run folder; `Run.open` opens it by path.
    device
        Device that ranks the items for top-k lists: ``cpu``, ``cuda``, or ``auto`` for a GPU if torch finds one.

    Examples
    --------
    >>> run = train("movielens", epochs=1, progress=False)
    >>> [len(items) for items in run.recommend(["1", "2"], k=5)]
    [5, 5]
    >>> best = run.recommend("1", k=1)[0]
    >>> run.explain("1", best.id).paths[0].sentence
    "The user's history has ..."
    """

    def __init__(self, folder: RunFolder, *, device: Device = "cpu") -> None:
        self.folder, self.device = folder, device

    @classmethod
    def open(cls, path: str | Path, *, device: Device = "cpu") -> Run:
        """Open the folder of a finished run; `device` ranks the items for top-k lists.

        Raises
        ------
        DataError
            If the folder has no run, or its run is not finished.
        """
        folder = RunFolder.open(Path(path))
        if not folder.file("result.json").is_file():
            raise DataError(
                folder.path, "has no result.json: the run is not finished", f"Go on with --resume {path}."
            )
        return cls(folder, device=device)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_markdown_(self) -> str:
        return self.folder.file("RESULT.md").read_text(encoding="utf-8")

    @property
    def path(self) -> Path:
        """Path of the run folder."""
        return self.folder.path

    @cached_property
    def config(self) -> RunConfig:
        """All settings."""
        return config_of(self.folder)

    @cached_property
    def result(self) -> dict[str, Any]:
        """Test metrics, validation metrics, sizes, times and memory, as in ``result.json``."""
        return self.folder.read_json("result.json")

    @property
    def metrics(self) -> dict[str, float]:
        """Test metrics by names such as ``"recall@20"``: means over all users with test items."""
        return dict(self.result["test"])

    @property
    def beyond_accuracy(self) -> dict[str, float]:
        """Coverage, novelty, diversity and popularity bias of the test's lists by names such as ``"coverage@20"``.

        See `Evaluation.beyond_accuracy`. Empty for runs of earlier versions.
        """
        return dict(self.result.get("test_beyond_accuracy", {}))

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Test metrics of ``"popularity"`` and ``"item-cosine"`` on the same split, by model name.

        A run of one of the two has the other only. Where all users would take too long, the metrics are those of a
        random sample of ``result["baseline_users"]``. Empty for runs of earlier versions.
        """
        return dict(self.result.get("baselines", {}))

    @property
    def below_baselines(self) -> list[str]:
        """Sentences such as ``"below popularity: recall@20 0.0500 against 0.0816"``; empty if the model is ahead."""
        return list(self.result.get("below_baselines", []))

    @property
    def history(self) -> list[dict[str, Any]]:
        """Records of all epochs: losses, validation metrics such as ``"valid/ndcg@20"``, and seconds."""
        return self.folder.metrics().read()

    @cached_property
    def dataset(self) -> Dataset:
        """The data. Raises `DataError` if it has changed since the training."""
        return self.folder.load_dataset()

    @cached_property
    def recommender(self) -> Recommender:
        """Top-k lists, scores and similar items, also for new users and items if the model is trained.

        A model that is not trained, such as EDLAE, is fitted again.
        """
        from spike_dgl.recommend.recommender import Recommender

        return Recommender.load(self.path, device=self.device)

    @cached_property
    def explainer(self) -> Explainer:
        """Explanations of scores, and all attention weights. Raises `SpikeError` unless the model is SPiKE."""
        from spike_dgl.explain.explainer import Explainer

        return Explainer.load(self.path)

    @overload
    def recommend(  # type: ignore[overload-overlap]  # a string is a sequence of strings, too
        self, users: str, k: int = 10
    ) -> list[ScoredItem]: ...

    @overload
    def recommend(self, users: Sequence[str], k: int = 10) -> list[list[ScoredItem]]: ...

    def recommend(self, users: str | Sequence[str], k: int = 10) -> list[ScoredItem] | list[list[ScoredItem]]:
        """Return the best `k` unseen items of a user, or of each of several users; see `Recommender.recommend`."""
        return self.recommender.recommend(users, k)

    def explain(self, user: str, item: str) -> Explanation:
        """Return the reasons for an item's score; see `Explainer.explain`."""
        return self.explainer.explain(user, item)

    def evaluate(self, split: Split = "test") -> Evaluation:
        """Rank all items for every user of a split, and return the metrics of each user; see `evaluate`."""
        experiment = reopen(self.folder)
        return experiment.evaluate(experiment.best_scores(), split)
