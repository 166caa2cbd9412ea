"""One run from settings to result: data, profiles, graph, model, training, and the test at the end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch

from spike_dgl.config import (
    apply_overrides,
    build,
    dotted_keys,
    flat,
    key_of,
    nearest_key,
    read_yaml,
    to_mapping,
    write_yaml,
)
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.options import DataOptions, load
from spike_dgl.errors import ConfigError, DataError, NotFiniteError
from spike_dgl.evaluation import Evaluation, EvaluationOptions, evaluate, list_length, metric_names
from spike_dgl.evaluation.evaluate import Split, relevant_pairs
from spike_dgl.evaluation.groups import num_training_items
from spike_dgl.graph import build_graph
from spike_dgl.models.base import (
    EmbeddingModel,
    Embeddings,
    ModelInputs,
    RecommenderModel,
    ScoreFunction,
    model_entry,
)
from spike_dgl.models.fold_in import FoldIn, LinearFoldIn
from spike_dgl.profiles import ProfileOptions, TfidfSvdEncoder, build_profiles
from spike_dgl.profiles.bottom_up import ProfileSources
from spike_dgl.profiles.stored import read_profile_texts, write_profile_texts
from spike_dgl.renamed import present_name
from spike_dgl.report import record_of_test, record_of_training, render_result
from spike_dgl.threads import use_threads
from spike_dgl.training.allocator import keep_freed_memory
from spike_dgl.training.checkpoint import load_checkpoint
from spike_dgl.training.devices import choose_device, describe_device, peak_device_memory_mb
from spike_dgl.training.distributed import Processes
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.resuming import alters_epochs
from spike_dgl.training.sampling import BprSampler, check_trainable
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.tracking import RunFolder, environment
from spike_dgl.training.trainer import Trainer, final_embeddings
from spike_dgl.training.whole_file import whole_file
from spike_dgl.typing import FloatArray

DEFAULT_MODEL = "spike"

Vectors: TypeAlias = dict[str, FloatArray]
"""Text vectors of ``users`` [U, d_t] and ``entities`` [N, d_t], or nothing where a run has no profiles."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run, one section each.

    Parameters
    ----------
    data, profiles, training, evaluation
        See the dataclass of each section.
    model_name
        Name of a registered model; ``model.name`` in files.
    model
        The options dataclass of that model.
    """

    model_name: str
    model: Any
    data: DataOptions = field(default_factory=DataOptions)
    profiles: ProfileOptions = field(default_factory=ProfileOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> RunConfig:
        """Check and fill all sections. Raises `ConfigError` for anything unknown or out of range."""
        unknown = [name for name in mapping if name not in (*SECTIONS, "model")]
        if unknown:
            raise ConfigError(
                f"unknown setting '{unknown[0]}'; {nearest_key(unknown[0], [*SECTIONS, 'model'])}"
            )
        model = dict(_section(mapping, "model"))
        name = model.pop("name", DEFAULT_MODEL)
        parts = {
            section: build(options, mapping.get(section), section) for section, options in SECTIONS.items()
        }
        config = cls(model_name=name, model=build(model_entry(name).options, model, "model"), **parts)
        metric = config.training.metric
        if list_length(metric) is None:
            hint = nearest_key(metric, metric_names(config.evaluation.cutoffs))
            raise ConfigError(f"training.metric: no metric '{metric}'; {hint}")
        return config

    @property
    def validation(self) -> EvaluationOptions:
        """`evaluation`, with the list length of ``training.metric``."""
        length = list_length(self.training.metric)
        return self.evaluation if length is None else self.evaluation.with_length(length)

    def to_mapping(self) -> dict[str, Any]:
        """All settings, defaults included, as `from_mapping` reads them back."""
        model = {"model": {"name": self.model_name, **to_mapping(self.model)}}
        return model | {name: to_mapping(getattr(self, name)) for name in SECTIONS}

    def to_yaml(self) -> str:
        """All settings, defaults included, as YAML that `load_config` reads back."""
        return write_yaml(self.to_mapping())


SECTIONS: dict[str, Any] = {
    "data": DataOptions,
    "profiles": ProfileOptions,
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
}


def load_config(file: Path | None = None, overrides: Iterable[str] = ()) -> RunConfig:
    """Settings from a YAML file (or the defaults) and ``section.key=value`` overrides.

    Raises
    ------
    ConfigError
        For an unreadable file, an unknown key (naming the nearest), or a value of the wrong type or range.
    """
    mapping, overrides = read_yaml(file) if file is not None else {}, list(overrides)
    chosen = [value for key, _, value in (item.partition("=") for item in overrides) if key == "model.name"]
    known = known_settings(chosen[-1] if chosen else name_of_model(mapping))
    return RunConfig.from_mapping(apply_overrides(mapping, overrides, known))


def known_settings(model: str | None = None) -> list[str]:
    """Dotted keys of all settings, with the options of a model where one is named."""
    known = ["model.name", *(dotted_keys(model_entry(model).options, "model") if model else ())]
    for section, options in SECTIONS.items():
        known += dotted_keys(options, section)
    return known


def overrides_by_model(models: Iterable[str], overrides: Iterable[str]) -> dict[str, list[str]]:
    """Of overrides meant for several models, those that each of them can take.

    A setting of one model, such as ``model.num_layers``, is nothing to a model that has no layers.

    Raises
    ------
    ConfigError
        For a setting that none of the models has, naming the nearest.
    """
    taken: dict[str, list[str]] = {model: [] for model in models}
    for override in overrides:
        key = key_of(override)
        takers = list(taken) if not key.startswith("model.") else _models_with(present_name(key), taken)
        for model in takers:
            taken[model].append(override)
    return taken


def _models_with(key: str, models: Iterable[str]) -> list[str]:
    known = {model: known_settings(model) for model in models}
    having = [model for model, keys in known.items() if key in keys]
    if not having:
        every_key = sorted({key for keys in known.values() for key in keys})
        raise ConfigError(f"unknown setting '{key}'; {nearest_key(key, every_key)}")
    return having


def name_of_model(mapping: Mapping[str, Any]) -> str:
    """The model that settings of a run name, or the default."""
    return str(_section(mapping, "model").get("name", DEFAULT_MODEL))


def _section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = mapping.get(name) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"'{name}' must be a mapping of settings, not {section!r}")
    return section


@dataclass(frozen=True)
class Experiment:
    """A run that is set up: its folder, settings, data and model, and what it runs on."""

    folder: RunFolder
    config: RunConfig
    dataset: Dataset
    model: RecommenderModel
    device: torch.device
    processes: Processes

    def train(
        self, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] = print
    ) -> Evaluation:
        """Train, then test the reported epoch once; writes the result into the run folder.

        Of several processes all must call it.

        Parameters
        ----------
        resume
            Go on from where the folder's ``last.pt`` was written.
        progress
            Show a progress bar.
        say
            Is told where a resumed run has nothing left to train.

        Raises
        ------
        SpikeError
            If another program writes to the run folder.
        ConfigError
            If a setting was changed that cannot be applied to a run that is resumed.
        """
        with self._only_writer():
            self._fit(resume, progress, say)
            return self.processes.on_first(self._report)

    def train_untested(
        self, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] = print
    ) -> None:
        """As `train`, but nothing of the test split is ranked: for choosing settings.

        What the run reached on validation is written to ``validation.json``. `train` with `resume` tests it later.
        """
        with self._only_writer():
            self._fit(resume, progress, say)
            self.processes.on_first(lambda: self.folder.write_json("validation.json", self._record()))

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        self.processes.on_first(self.folder.lock)
        try:
            yield
        finally:
            self.folder.unlock()

    def _fit(self, resume: bool, progress: bool, say: Callable[[str], None]) -> None:
        if not isinstance(self.model, EmbeddingModel):
            self.processes.on_first(self._record_untrained)
            return
        trainer = self._trainer(self.model, progress)
        if resume:
            if self.folder.file("last.pt").is_file():
                with _weights_fit(self.folder, self.config):
                    trainer.restore()
            self.processes.on_first(lambda: self._record_resumption(trainer))
            if self.processes.is_first and trainer.why_done:
                say(trainer.why_done)
        trainer.fit()

    def _record_resumption(self, trainer: Trainer) -> None:
        self.folder.write_text("config.yaml", self.config.to_yaml())  # some settings may be new
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
        """Scores by the weights of the epoch that is reported; an untrained model has no weights."""
        if isinstance(self.model, EmbeddingModel):
            return self._best_embeddings(self.model).scores
        return self.model.score_function()

    def load_best(self) -> None:
        """Give the model the weights of the epoch that is reported.

        Raises `DataError` where there is no such epoch, or where the weights are of another model.
        """
        _load_best(self.model, self.folder, self.config)

    def _best_embeddings(self, model: EmbeddingModel) -> Embeddings:
        self.load_best()
        embeddings = final_embeddings(model)
        if not (embeddings.users.isfinite().all() and embeddings.items.isfinite().all()):
            raise NotFiniteError(
                f"some embeddings of {self.folder.path} are infinite or not a number\n"
                "  Train with a smaller training.learning_rate, or check the profile vectors for broken values."
            )
        return embeddings

    def evaluate(self, scores: ScoreFunction, split: Split) -> Evaluation:
        """Rank all items for the users of a split, ``valid`` or ``test``."""
        return evaluate(scores, self.dataset, split, self.config.evaluation)

    @cached_property
    def profile_sources(self) -> ProfileSources:
        """Where the profile of each node came from."""
        return read_profile_texts(self.folder.file("profiles.jsonl.gz")).sources

    def _trainer(self, model: EmbeddingModel, progress: bool) -> Trainer:
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
            validate=(lambda embeddings: self._validate(embeddings.scores)) if len(dataset.valid) else None,
            progress=progress,
            processes=self.processes,
        )

    def _validate(self, scores: ScoreFunction) -> dict[str, float]:
        return evaluate(scores, self.dataset, "valid", self.config.validation).means

    def _record_untrained(self) -> None:
        """The one record of a model without epochs."""
        if self.folder.metrics().read():
            return
        started = time.perf_counter()
        metrics = self._validate(self.best_scores()) if len(self.dataset.valid) else {}
        seconds = time.perf_counter() - started
        record = {f"valid/{name}": value for name, value in metrics.items()}
        self.folder.metrics().append({"epoch": 0, **record, "seconds": 0.0, "elapsed_seconds": seconds})

    def _record(self) -> dict[str, Any]:
        return record_of_training(self.folder, self.dataset, self.model, self.profile_sources) | {
            "device": describe_device(self.device),
            "processes": self.processes.number,
            "peak_device_memory_mb": peak_device_memory_mb(self.device),
        }

    def _report(self) -> Evaluation:
        if isinstance(self.model, EmbeddingModel):
            embeddings = self._best_embeddings(self.model)
            users, items = (rows.cpu().numpy() for rows in (embeddings.users, embeddings.items))
            self.folder.write_arrays("embeddings.npz", users=users, items=items)
            scores: ScoreFunction = embeddings.scores
        else:
            scores = self.model.score_function()
        test = self.evaluate(scores, "test")
        sources = self.profile_sources
        training_items = num_training_items(test, self.dataset)
        self.folder.write_arrays(
            "test_users.npz", users=test.users, training_items=training_items, **test.per_user
        )
        record = self._record() | record_of_test(test, self.dataset, sources)
        self.folder.write_json("result.json", record)
        title = f"{self.config.model_name} on {self.dataset.name}, seed {self.config.training.seed}"
        self.folder.write_text("RESULT.md", render_result(record, title, self.dataset, test, sources))
        return test


def start(
    config: RunConfig,
    folder: RunFolder,
    processes: Processes | None = None,
    *,
    progress: bool = False,
    inspect: Callable[[Dataset], None] = lambda _: None,
) -> Experiment:
    """Set up a new run: load the data, write profiles, build graph and model; records all of it in the folder.

    Of several processes all must call it. The first does as above, and the others then read what it wrote.
    With `progress`, a bar is shown where encoding profiles takes long. `inspect` is given the data before anything is
    made of it.
    """
    processes = processes or Processes()
    started: list[Experiment] = []
    try:
        processes.on_first(lambda: started.append(_start(config, folder, processes, progress, inspect)))
    except BaseException:
        folder.remove_if_empty()
        raise
    return started[0] if started else reopen(folder, processes=processes)


def _start(
    config: RunConfig,
    folder: RunFolder,
    processes: Processes,
    progress: bool,
    inspect: Callable[[Dataset], None],
) -> Experiment:
    _device_of(config, processes)  # where there is none, the run ends before anything is written
    dataset = load(config.data)
    inspect(dataset)
    _check_data(dataset, config)
    config = with_absolute_paths(config)
    profiles = build_profiles(dataset, config.profiles, progress=progress)
    vectors: Vectors = {}
    if profiles.user_vectors is not None and profiles.entity_vectors is not None:
        vectors = {"users": profiles.user_vectors, "entities": profiles.entity_vectors}
        folder.write_arrays("profiles.npz", **vectors)
    data = {"name": dataset.name, "checksum": dataset.checksum, "split_hash": dataset.split_hash}
    with whole_file(folder.file("profiles.jsonl.gz")) as partial:
        write_profile_texts(partial, dataset, profiles)
    if isinstance(profiles.fitted_encoder, TfidfSvdEncoder):
        with whole_file(folder.file("encoder.npz")) as partial:
            profiles.fitted_encoder.save(partial)
    folder.write_json("environment.json", environment() | {"data": data, "encoder": profiles.encoder})
    folder.write_text("config.yaml", config.to_yaml())
    return _set_up(config, folder, dataset, vectors, processes)


def _check_data(dataset: Dataset, config: RunConfig) -> None:
    """Raise `SpikeError` where the data has nothing to train or to test on, before anything is paid for or trained."""
    relevant_pairs(dataset, "test")
    if len(dataset.valid):
        relevant_pairs(dataset, "valid")
    model = model_entry(config.model_name).model
    if isinstance(model, type) and issubclass(model, EmbeddingModel):
        check_trainable(dataset.train, dataset.num_items)


def reopen(
    folder: RunFolder,
    overrides: Iterable[str] = (),
    *,
    section: str = "training",
    processes: Processes | None = None,
) -> Experiment:
    """Set up a run again from its folder, to go on with training or to evaluate.

    Parameters
    ----------
    folder
        Of a run that was started.
    overrides
        Settings to change, such as ``training.epochs=200``.
    section
        The only section that may change, ``training.device`` apart: what the run was trained on and how its model
        looks stays.
    processes
        Those that go on together; a single one by default.
    """
    overrides = list(overrides)
    for override in overrides:
        if not override.startswith((f"{section}.", "training.device=")):
            raise ConfigError(f"'{override}': here only settings of the {section} section can change")
    config = load_config(folder.file("config.yaml"), overrides)
    return _set_up(config, folder, folder.load_dataset(), _stored_vectors(folder), processes or Processes())


def open_fold_in(folder: RunFolder, dataset: Dataset, embeddings: Mapping[str, FloatArray]) -> FoldIn:
    """What embeds users and items that came after the training of a run. Works on the CPU.

    Parameters
    ----------
    folder
        Of a finished run.
    dataset
        Its data.
    embeddings
        Its final embeddings of ``users`` [U, D] and ``items`` [I, D].

    Raises
    ------
    DataError
        Where the run has no ``best.pt``, or that of another model.
    """
    config, vectors = load_config(folder.file("config.yaml")), _stored_vectors(folder)
    model = _build_model(config, dataset, vectors, torch.device("cpu"))
    assert isinstance(model, EmbeddingModel)  # others store no embeddings
    _load_best(model, folder, config)
    linear = LinearFoldIn.fit(dataset, embeddings["users"], embeddings["items"], vectors)
    return model.eval().fold_in(linear)


def _load_best(model: RecommenderModel, folder: RunFolder, config: RunConfig) -> None:
    weights = load_checkpoint(folder.file("best.pt"))["model"]
    with _weights_fit(folder, config):
        model.load_state_dict(weights)


@contextmanager
def _weights_fit(folder: RunFolder, config: RunConfig) -> Iterator[None]:
    """Say so where weights that are loaded have other parts or sizes than the model of a run's settings."""
    try:
        yield
    except RuntimeError as error:
        first, *reasons = str(error).splitlines()
        if "state_dict" not in first:
            raise
        file = folder.file("config.yaml")
        there, model = flat(read_yaml(file)), flat({"model": to_mapping(config.model)})
        new = ", ".join(f"{key} (now {value})" for key, value in model.items() if key not in there)
        remedy = "Put back the settings it was trained with, or train again."
        if new:
            remedy = (
                f"An older version trained it, without {new}: add what switches that off, or train again."
            )
        problem = f"describes another model than the weights are of ({' '.join(reasons).strip()})"
        raise DataError(file, problem, remedy) from None


def _stored_vectors(folder: RunFolder) -> Vectors:
    return folder.read_arrays("profiles.npz") if folder.file("profiles.npz").is_file() else {}


def _set_up(
    config: RunConfig, folder: RunFolder, dataset: Dataset, vectors: Vectors, processes: Processes
) -> Experiment:
    device = _device_of(config, processes)
    keep_freed_memory()
    use_threads(config.training.threads)
    seed_everything(config.training.seed)
    model = _build_model(config, dataset, vectors, device)
    return Experiment(folder, config, dataset, model, device, processes)


def _build_model(
    config: RunConfig, dataset: Dataset, vectors: Vectors, device: torch.device
) -> RecommenderModel:
    users, entities = (
        torch.from_numpy(vectors[side]) if side in vectors else None for side in ("users", "entities")
    )
    inputs = ModelInputs(build_graph(dataset), users, entities, device=device)
    return model_entry(config.model_name).model(inputs, config.model).to(device)


def _device_of(config: RunConfig, processes: Processes) -> torch.device:
    return choose_device(config.training.device, processes.local_rank, processes.local_number)


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The settings with paths that also hold from another working directory, as a run folder records them."""
    profiles = config.profiles
    llm = dataclasses.replace(profiles.llm, prompts=_absolute(profiles.llm.prompts))
    store, texts = (path and _absolute(path) for path in (profiles.store, profiles.texts))
    local = profiles.sentence_transformers
    local = dataclasses.replace(local, model=_absolute(local.model))
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, path=_absolute(config.data.path)),
        profiles=dataclasses.replace(
            profiles, store=store, texts=texts, llm=llm, sentence_transformers=local
        ),
    )


def _absolute(path: str) -> str:
    """A path made absolute; what is no file or folder is a word, such as that for the bundled data."""
    return str(Path(path).resolve()) if Path(path).exists() else path
