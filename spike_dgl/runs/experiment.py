"""A run: its training, and the test at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.popularity import recent_popularity
from spike_dgl.errors import NotFiniteError
from spike_dgl.evaluation import Evaluation, evaluate
from spike_dgl.evaluation.cold_users import popular_for_cold_users
from spike_dgl.evaluation.evaluate import Split
from spike_dgl.evaluation.groups import num_training_items
from spike_dgl.models.base import (
    EmbeddingModel,
    Embeddings,
    RankingOptions,
    RecommenderModel,
    ScoreFunction,
)
from spike_dgl.models.popularity_term import PopularityTerm
from spike_dgl.profiles.records import ProfileSources
from spike_dgl.profiles.stored import read_profile_texts
from spike_dgl.runs.baselines import evaluate_baselines
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.embeddings import Rows, store_embeddings
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.popularity_weight import FILE, USUAL, WEIGHTS, choose_popularity_weight
from spike_dgl.runs.report import record_of_test, record_of_training, render_baselines, render_result
from spike_dgl.runs.text_vectors import TextVectors
from spike_dgl.runs.weights import load_best, weights_fit
from spike_dgl.training.devices import describe_device, peak_device_memory_mb
from spike_dgl.training.distributed import Processes
from spike_dgl.training.resuming import alters_epochs
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.trainer import Trainer, final_embeddings
from spike_dgl.typing import FloatArray


@dataclass(frozen=True)
class Experiment:
    """Run that is set up: folder, settings, data, model, device and processes."""

    folder: RunFolder
    config: RunConfig
    dataset: Dataset
    model: RecommenderModel
    device: torch.device
    processes: Processes

    def train(
        self, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] = print
    ) -> Evaluation:
        """Train, test the reported epoch once, and write the result to the run folder.

        In data-parallel training all processes must call it.

        Parameters
        ----------
        resume
            Whether to resume from the folder's ``last.pt``.
        progress
            Whether to show a progress bar.
        say
            Function called with a message if a resumed run has nothing left to train.

        Raises
        ------
        SpikeError
            If another program is writing to the run folder.
        ConfigError
            If a changed setting cannot be applied to a resumed run.
        """
        with self._only_writer():
            self._fit(resume, progress, say)
            return self.processes.on_rank_zero(self._report)

    def train_untested(
        self, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] = print
    ) -> None:
        """Train like `train`, but without the test, for hyperparameter search.

        Writes the validation result to ``validation.json``. A later `train` with `resume` runs the test.
        """
        with self._only_writer():
            self._fit(resume, progress, say)
            self.processes.on_rank_zero(lambda: self.folder.write_json("validation.json", self._record()))

    def train_briefly(self, seconds: float) -> bool:
        """Train for at most `seconds`, without test and progress bar; return whether the time sufficed.

        The epoch in which the time is up ends early and is validated. For trained models.
        """
        assert isinstance(self.model, EmbeddingModel)
        with self._only_writer():
            trainer = self._trainer(self.model, progress=False, time_limit=seconds)
            trainer.fit()
            if self._chooses_popularity_weight:
                self._choose_popularity_weight(self.model)
        return trainer.is_done

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        self.processes.on_rank_zero(self.folder.lock)
        try:
            yield
        finally:
            self.folder.unlock()

    def _fit(self, resume: bool, progress: bool, say: Callable[[str], None]) -> None:
        if not isinstance(self.model, EmbeddingModel):
            self.processes.on_rank_zero(self._record_untrained)
            return
        if self._chooses_popularity_weight:
            self.model.popularity_term = None  # a resumed run may have one from its earlier end
        trainer = self._trainer(self.model, progress)
        if resume:
            if self.folder.file("last.pt").is_file():
                with weights_fit(self.folder, self.config):
                    trainer.restore()
            self.processes.on_rank_zero(lambda: self._record_resumption(trainer))
            if self.processes.is_first and trainer.why_done:
                say(trainer.why_done)
        trainer.fit()
        if self._chooses_popularity_weight:
            self.processes.on_rank_zero(partial(self._choose_popularity_weight, self.model))

    @property
    def _chooses_popularity_weight(self) -> bool:
        options = self.config.model
        return isinstance(options, RankingOptions) and options.popularity_weight == "auto"

    def _choose_popularity_weight(self, model: EmbeddingModel) -> None:
        """Choose the weight of the popularity term on the validation split, and store it in the run folder."""
        popularity = recent_popularity(self.dataset.train, self.dataset.num_items)
        terms = {weight: PopularityTerm.of(popularity, weight, self.device) for weight in WEIGHTS}
        metric, values = self.config.training.metric, {}
        if len(self.dataset.valid):
            model.popularity_term = terms[USUAL]
            # Once: the terms differ in the last dimension of the items only.
            final = self._best_embeddings(model)
            for weight, term in terms.items():
                items = torch.cat([final.items[:, :-1], term.items], dim=1)
                scores = self._scores(Embeddings(final.users, items).scores)
                values[weight] = self._evaluate_valid(scores).per_user[metric]
        choice = choose_popularity_weight(values, metric)
        self.folder.write_json(FILE, choice.record())
        model.popularity_term = terms[choice.weight] if choice.weight else None

    def _record_resumption(self, trainer: Trainer) -> None:
        self.folder.write_text("config.yaml", self.config.to_yaml())  # some settings may have changed
        if not self.folder.file("last.pt").is_file():
            return
        self.folder.metrics().keep_before(trainer.epoch)
        changed = {
            f"training.{name}": list(values)
            for name, values in trainer.changed.items()
            if alters_epochs(name, trainer.options)
        }
        self.folder.add_resumption({"epoch": trainer.epoch, "step": trainer.step, "changed": changed})

    def best_scores(self) -> ScoreFunction:
        """Return the score function with the weights of the reported epoch, if the model is trained.

        For users without training interactions, scores are popularity unless the model `scores_cold_users`.
        """
        if isinstance(self.model, EmbeddingModel):
            return self._scores(self._best_embeddings(self.model).scores)
        return self._scores(self.model.score_function())

    def _scores(self, of_model: ScoreFunction) -> ScoreFunction:
        return of_model if self.model.scores_cold_users else popular_for_cold_users(of_model, self.dataset)

    def load_best(self) -> None:
        """Load the weights of the reported epoch into the model.

        Raises `DataError` if there is no such epoch, or the weights are of another model.
        """
        load_best(self.model, self.folder, self.config)

    def _best_embeddings(self, model: EmbeddingModel) -> Embeddings:
        self.load_best()
        embeddings = final_embeddings(model)
        if not (embeddings.users.isfinite().all() and embeddings.items.isfinite().all()):
            raise NotFiniteError(
                f"some embeddings of {self.folder.path} are infinite or not a number\n"
                "  Train with a smaller training.learning_rate, or check the profile vectors for invalid values."
            )
        return embeddings

    def evaluate(self, scores: ScoreFunction, split: Split) -> Evaluation:
        """Rank all items for the users of a split, ``valid`` or ``test``."""
        return evaluate(scores, self.dataset, split, self.config.evaluation)

    @cached_property
    def profile_sources(self) -> ProfileSources:
        """Source of each node's profile."""
        return read_profile_texts(self.folder.file("profiles.jsonl.gz")).sources

    @cached_property
    def item_vectors(self) -> FloatArray | None:
        """Text vectors of the items [I, d_t]; None if the run uses no profiles."""
        return item_vectors(self.folder, self.dataset)

    def _trainer(self, model: EmbeddingModel, progress: bool, time_limit: float | None = None) -> Trainer:
        training, dataset = self.config.training, self.dataset
        sampler = BprSampler(
            dataset.train,
            dataset.num_users,
            dataset.num_items,
            batch_size=training.batch_size,
            seed=training.seed,
            popularity_exponent=training.negative_popularity,
            seen_negatives=training.negatives_from == "seen",
            recency=training.recency,
            device=self.device,
        )
        return Trainer(
            model,
            sampler,
            training,
            folder=self.folder.path,
            log=self.folder.metrics(),
            validate=(lambda embeddings: self._evaluate_valid(self._scores(embeddings.scores)).means)
            if len(dataset.valid)
            else None,
            progress=progress,
            processes=self.processes,
            time_limit=time_limit,
        )

    def _evaluate_valid(self, scores: ScoreFunction) -> Evaluation:
        return evaluate(scores, self.dataset, "valid", self.config.validation)

    def _record_untrained(self) -> None:
        """Append the single record of a model without epochs."""
        if self.folder.metrics().read():
            return
        started = time.perf_counter()
        metrics = self._evaluate_valid(self.best_scores()).means if len(self.dataset.valid) else {}
        seconds = time.perf_counter() - started
        record = {f"valid/{name}": value for name, value in metrics.items()}
        self.folder.metrics().append({"epoch": 0, **record, "seconds": 0.0, "elapsed_seconds": seconds})

    def _record(self) -> dict[str, Any]:
        return record_of_training(self.folder, self.dataset, self.profile_sources) | {
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "device": describe_device(self.device),
            "processes": self.processes.number,
            "peak_device_memory_mb": peak_device_memory_mb(self.device),
        }

    def _report(self) -> Evaluation:
        if isinstance(self.model, EmbeddingModel):
            embeddings = self._best_embeddings(self.model)
            users, items = (Rows.of(side.cpu().numpy()) for side in (embeddings.users, embeddings.items))
            store_embeddings(self.folder, users, items, self.config.training.map_embeddings_above)
            scores = self._scores(embeddings.scores)
        else:
            scores = self.best_scores()
        test = self.evaluate(scores, "test")
        # The record is made before the baselines, whose memory is not the model's.
        record = self._record()
        write_test(self.folder, self.config, self.dataset, record, self.profile_sources, test, self.device)
        return test


def write_test(
    folder: RunFolder,
    config: RunConfig,
    dataset: Dataset,
    record: Mapping[str, Any],
    sources: ProfileSources,
    test: Evaluation,
    device: torch.device,
) -> None:
    """Write the test of a run, with the `record` of its training, to its folder; baselines run on a device."""
    training_items = num_training_items(test, dataset)
    folder.write_arrays("test_users.npz", users=test.users, training_items=training_items, **test.per_user)
    model = config.model_name
    baselines = evaluate_baselines(test, dataset, model, config.evaluation, device)
    beyond = test.beyond_accuracy(dataset, item_vectors(folder, dataset))
    record = {**record, **record_of_test(test, dataset, sources, beyond, baselines)}
    folder.write_json("result.json", record)
    title = f"{model} on {dataset.name}, seed {config.training.seed}"
    beside = render_baselines(baselines, model, baselines.remedy(config, record, dataset))
    folder.write_text("RESULT.md", render_result(record, title, dataset, test, sources, beside))


def item_vectors(folder: RunFolder, dataset: Dataset) -> FloatArray | None:
    """Return the text vectors of the items [I, d_t]; None if the run uses no profiles."""
    entities = TextVectors.of_run(folder, dataset.num_users).entities
    return None if entities is None else entities[: dataset.num_items]
