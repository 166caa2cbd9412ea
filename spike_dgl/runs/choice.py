"""Choice of the training regime, by short runs on the inner split of the data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from spike_dgl.config import flat
from spike_dgl.data.audit_times import pairs_after
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.inner_split import split_inner
from spike_dgl.data.options import load
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.markdown import markdown_table
from spike_dgl.runs.baselines import Baselines, evaluate_baselines
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.experiment import Experiment
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.regimes import REGIMES, Regime, Settings, has_regimes, in_regime
from spike_dgl.runs.set_up import start
from spike_dgl.training.distributed import Processes
from spike_dgl.training.interrupt import Interrupted

BUDGET = 300.0
"""Default seconds of training for all short runs together."""
MAX_LATE = 0.05
"""Maximum share of training pairs after their user's first test pair, in data that counts as split by time."""
IN_WORDS: Mapping[str, str] = {"any-order": "in any order", "in-order": "in the order of time"}


@dataclass(frozen=True)
class Trial:
    """Short run of a regime.

    Parameters
    ----------
    metrics
        Metrics on the test split of the inner split.
    epochs, seconds
        Epochs trained, and seconds with set-up and evaluation.
    out_of_time
        Whether the budget ended the training, not early stopping or the last epoch.
    """

    metrics: Mapping[str, float]
    epochs: int
    seconds: float
    out_of_time: bool


@dataclass(frozen=True)
class Choice:
    """Short runs of the regimes, and the baselines on the same split.

    Parameters
    ----------
    metric
        Metric that decides.
    trials
        Short run of each regime that could be trained.
    failures
        Reason of failure of each other regime.
    baselines
        Metrics of popularity and item-cosine on the same split.
    budget
        Seconds of training for all runs together.
    """

    metric: str
    trials: Mapping[Regime, Trial]
    failures: Mapping[Regime, str]
    baselines: Baselines
    budget: float

    @property
    def chosen(self) -> Regime:
        """Regime with the best metric; the first one of equals."""
        return max(self.trials, key=lambda name: self.trials[name].metrics[self.metric])

    def record(self) -> dict[str, Any]:
        """Return the entries of ``environment.json`` and ``result.json``."""
        return {
            "metric": self.metric,
            "budget": self.budget,
            "seconds": sum(trial.seconds for trial in self.trials.values()),
            "trials": {name: asdict(trial) for name, trial in self.trials.items()},
            "failures": dict(self.failures),
            "baselines": {name: dict(means) for name, means in self.baselines.metrics.items()},
            "text": self.render(),
        }

    def render(self) -> str:
        """Render the result in words, and a table of all metrics."""
        return "\n\n".join([" ".join(self._sentences()), self._table()])

    def _sentences(self) -> list[str]:
        best, metric = self.chosen, self.metric
        value = self.trials[best].metrics[metric]
        others = [
            f"{trial.metrics[metric]:.4f} {IN_WORDS[name]} ({_gain(value, trial.metrics[metric])})"
            for name, trial in self.trials.items()
            if name != best
        ]
        others += [f"failure {IN_WORDS[name]}: {reason}" for name, reason in self.failures.items()]
        said = [
            f"Short runs on the inner split chose training {IN_WORDS[best]} ({best}): {metric} {value:.4f} against "
            f"{'; '.join(others)}."
        ]
        if any(trial.out_of_time for trial in self.trials.values()):
            said.append(
                f"Their time ran out; a larger budget than {self.budget:g} s makes the choice more reliable."
            )
        ahead = [
            f"{name} ({means[metric]:.4f})"
            for name, means in self.baselines.metrics.items()
            if means[metric] > value
        ]
        if ahead:
            said.append(f"**Ahead of it there without any training: {', '.join(ahead)}.**")
        return said

    def _table(self) -> str:
        metrics = list(dict.fromkeys([self.metric, *self.baselines.shown]))
        rows = [["inner split", *metrics, "epochs", "s"]]
        for name, trial in self.trials.items():
            cells = _cells(trial.metrics, metrics)
            rows.append([name, *cells, str(trial.epochs), f"{trial.seconds:.1f}"])
        for baseline, means in self.baselines.metrics.items():
            rows.append([baseline, *_cells(means, metrics), "", ""])
        return markdown_table(rows)


def _cells(means: Mapping[str, float], metrics: list[str]) -> list[str]:
    return [f"{means[metric]:.4f}" for metric in metrics]


def _gain(value: float, other: float) -> str:
    return f"{(value / other - 1) * 100:+.0f} %" if other else "from 0"


def settle(
    settings: Settings, regime: str | None, budget: float = BUDGET, say: Callable[[str], None] = print
) -> tuple[RunConfig, dict[str, Any]]:
    """Return the settings of a run in the requested regime, and the record of the choice.

    Parameters
    ----------
    settings
        Settings by section, without defaults.
    regime
        Name of a regime, ``auto`` to choose by short runs, or None for the settings as they are.
    budget
        Seconds of training for all short runs together.
    say
        Function called with what is chosen and why.

    Raises
    ------
    ConfigError
        If the regime does not exist or does not fit the settings, or the budget is not positive.
    """
    if not budget > 0:  # not a number, too
        raise ConfigError(f"the budget of the choice is {budget:g} s; it must be positive")
    if regime is None:
        return RunConfig.from_mapping(settings), {}
    if regime != "auto":
        return in_regime(settings, regime), {"name": regime}
    config, candidates = RunConfig.from_mapping(settings), _candidates(settings)
    reason = _nothing_to_choose(config, candidates)
    if reason:
        say(f"no regime to choose: {reason}")
        return config, {}
    say(
        f"choosing a training regime by short runs on the inner split, {budget:g} s at most (docs/training.md)"
    )
    choice = _choose(candidates, budget, say)
    if choice is None:
        return config, {}
    say(choice.render() + "\n")
    record = {"name": choice.chosen, "choice": choice.record()}
    return as_recorded(settings, record), record


def as_recorded(settings: Settings, record: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a run whose regime was settled before; see `settle`.

    Parameters
    ----------
    settings
        Settings by section, without defaults.
    record
        Record of the regime; empty if there is none.
    """
    return in_regime(settings, record["name"]) if record else RunConfig.from_mapping(settings)


def _candidates(settings: Settings) -> dict[Regime, RunConfig]:
    """Return the settings of each regime that the given settings admit; ``model.fanout`` excludes one."""
    found: dict[Regime, RunConfig] = {}
    for name in get_args(Regime):
        with suppress(ConfigError):
            found[name] = in_regime(settings, name)
    return found


def _nothing_to_choose(config: RunConfig, candidates: Mapping[Regime, RunConfig]) -> str:
    """Return why there is nothing to choose; empty if there is."""
    if not has_regimes(config):
        return "only SPiKE has training regimes"
    if len({candidate.to_yaml() for candidate in candidates.values()}) < 2:
        return "the settings decide"
    dataset = load(config.data)
    if dataset.train.times is None:
        return "this data has no times"
    if not _is_split_by_time(dataset):
        return "this data is not split by time"
    inner = split_inner(dataset, config.data.split_seed)
    return "" if len(inner.test) else "the histories are too short for an inner split"


def hint(config: RunConfig, dataset: Dataset) -> str:
    """Return what to tell who trains SPiKE in any order on data that is split by time; empty for others."""
    settings = flat(config.to_mapping())
    in_any_order = has_regimes(config) and all(
        settings[key] == value for key, value in REGIMES["any-order"].items()
    )
    if not in_any_order or not _is_split_by_time(dataset):
        return ""
    return "this data is split by time, and SPiKE trains in any order; --regime auto compares it with the order of time"


def _is_split_by_time(dataset: Dataset) -> bool:
    if dataset.train.times is None or dataset.test.times is None:
        return False
    return pairs_after(dataset.train, dataset.test, dataset.num_users) <= MAX_LATE * len(dataset.train)


def _choose(
    candidates: Mapping[Regime, RunConfig],
    budget: float,
    say: Callable[[str], None],
) -> Choice | None:
    """Run the candidates briefly; None if all failed."""
    trials: dict[Regime, Trial] = {}
    failures: dict[Regime, str] = {}
    baselines: Baselines | None = None
    for name, config in candidates.items():
        try:
            trials[name], found = _run_briefly(config, budget / len(candidates), compare=baselines is None)
            baselines = baselines or found
        except Interrupted as stopped:
            message = "stopped while a training regime was being chosen; nothing was saved"
            raise Interrupted(message, stopped.signal_number) from None
        except (
            SpikeError
        ) as error:  # the choice is an aid: what also fails in the run itself is reported there
            failures[name] = str(error).splitlines()[0]
    if baselines is None:
        say(f"no regime was chosen: {'; '.join(failures.values())}")
        return None
    metric = next(iter(candidates.values())).training.metric
    return Choice(metric, trials, failures, baselines, budget)


def _run_briefly(config: RunConfig, seconds: float, *, compare: bool) -> tuple[Trial, Baselines | None]:
    """Train and test on the inner split for at most `seconds`; with `compare`, evaluate the baselines, too."""
    started = time.perf_counter()
    inner = replace(config, data=replace(config.data, inner_split=True), evaluation=config.validation)
    with tempfile.TemporaryDirectory(prefix="spike-regime-") as folder:
        experiment = start(inner, RunFolder.create(Path(folder)))
        in_time = experiment.train_briefly(seconds)
        test = experiment.evaluate(experiment.best_scores(), "test")
        epochs = len(experiment.folder.metrics().read())
    trial = Trial(test.means, epochs, time.perf_counter() - started, not in_time)
    if not compare:
        return trial, None
    options, device = inner.evaluation, experiment.device
    return trial, evaluate_baselines(test, experiment.dataset, config.model_name, options, device)


def start_in_regime(
    settings: Settings,
    folder: RunFolder,
    processes: Processes | None = None,
    *,
    regime: str | None,
    budget: float = BUDGET,
    say: Callable[[str], None] = print,
    progress: bool = False,
    inspect: Callable[[Dataset], None] = lambda _: None,
) -> Experiment:
    """Set up a new run like `start`, in a training regime; see `settle` for the first parameters.

    In data-parallel training the first process chooses, alone, and the others wait.
    """
    processes = processes or Processes()
    try:
        config, record = processes.on_rank_zero(lambda: settle(settings, regime, budget, say))
    except BaseException:
        folder.remove_if_empty()
        raise
    return start(config, folder, processes, progress=progress, inspect=inspect, regime=record)
