"""Set-up of a run, new or from its folder: data, profiles, graph and model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from spike_dgl.atomic_files import atomic_write
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.options import load
from spike_dgl.errors import ConfigError
from spike_dgl.evaluation.evaluate import relevant_pairs
from spike_dgl.graph import build_graph
from spike_dgl.models.base import (
    EmbeddingModel,
    Embeddings,
    ModelInputs,
    RankingOptions,
    RecommenderModel,
    model_entry,
)
from spike_dgl.models.calibration import CalibratedFoldIn
from spike_dgl.models.fold_in import FoldIn, JoinedFoldIn, LinearFoldIn
from spike_dgl.models.linear_term import LinearTerm, LinearTermFoldIn
from spike_dgl.models.popularity_term import PopularityTerm
from spike_dgl.profiles import TfidfSvdEncoder, build_profiles
from spike_dgl.profiles.encoders.cache import in_memory
from spike_dgl.profiles.stored import write_profile_texts
from spike_dgl.runs.config import RunConfig, config_of, with_absolute_paths
from spike_dgl.runs.environment import environment
from spike_dgl.runs.experiment import Experiment
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.popularity_weight import popularity_weight_of
from spike_dgl.runs.text_vectors import TextVectors, new_table_on_disk
from spike_dgl.runs.weights import load_best
from spike_dgl.threads import Once, use_threads
from spike_dgl.training.allocator import keep_freed_memory
from spike_dgl.training.devices import choose_device
from spike_dgl.training.distributed import Processes
from spike_dgl.training.sampling import check_trainable
from spike_dgl.training.seeding import seed_everything
from spike_dgl.typing import FloatArray

RUNS = Path("runs")
"""Folder of runs whose folder is not named."""


def new_folder(config: RunConfig, path: Path | None = None) -> RunFolder:
    """Create the folder of a new run: `path`, or by default ``runs/DATA-MODEL-seedN`` with a free number at the end.

    Raises `SpikeError` if something is in `path` already.
    """
    if path is not None:
        return RunFolder.create(path)
    model = config.model_name.rpartition(":")[2]  # the class, of "package.module:Class"
    return RunFolder.next_free(RUNS, f"{Path(config.data.path).name}-{model}-seed{config.training.seed}")


def start(
    config: RunConfig,
    folder: RunFolder,
    processes: Processes | None = None,
    *,
    progress: bool = False,
    inspect: Callable[[Dataset], None] = lambda _: None,
    regime: Mapping[str, Any] = MappingProxyType({}),
) -> Experiment:
    """Set up a new run: load the data, build profiles, graph and model, and write the set-up files to the folder.

    In data-parallel training all processes must call it. The first one does the work, and the others load the result.
    With `progress`, a progress bar is shown if encoding profiles takes long. `inspect` is called with the data before
    it is used. `regime` is recorded in ``environment.json``: how the settings were chosen (`spike_dgl.runs.choice`).
    """
    processes = processes or Processes()
    started: list[Experiment] = []
    try:
        processes.on_rank_zero(
            lambda: started.append(_start(config, folder, processes, progress, inspect, regime))
        )
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
    regime: Mapping[str, Any],
) -> Experiment:
    _device_of(config, processes)  # raises before anything is written if there is no such device
    dataset = load(config.data)
    inspect(dataset)
    config, vectors = write_inputs(config, folder, dataset, progress=progress, regime=regime)
    return _set_up(config, folder, dataset, vectors, processes)


def write_inputs(
    config: RunConfig,
    folder: RunFolder,
    dataset: Dataset,
    *,
    progress: bool = False,
    regime: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[RunConfig, TextVectors]:
    """Build the profiles of a new run, write its set-up files, and return its settings with absolute paths.

    `regime` is the record of how its training regime was chosen, if it was.
    """
    _check_vectors(config)
    _check_data(dataset, config)
    config = with_absolute_paths(config)
    on_disk = config.profiles.vectors_on_disk
    new_table = new_table_on_disk(folder.path) if on_disk else in_memory
    profiles = build_profiles(dataset, config.profiles, progress=progress, new_table=new_table)
    vectors = TextVectors.of_profiles(profiles, dataset.num_items).write(folder, on_disk=on_disk)
    data = {"name": dataset.name, "checksum": dataset.checksum, "split_hash": dataset.split_hash}
    with atomic_write(folder.file("profiles.jsonl.gz")) as partial:
        write_profile_texts(partial, dataset, profiles)
    if isinstance(profiles.fitted_encoder, TfidfSvdEncoder):
        with atomic_write(folder.file("encoder.npz")) as partial:
            profiles.fitted_encoder.save(partial)
    how = {"data": data, "encoder": profiles.encoder, **({"regime": dict(regime)} if regime else {})}
    folder.write_json("environment.json", environment() | how)
    folder.write_text("config.yaml", config.to_yaml())
    return config, vectors


def _check_vectors(config: RunConfig) -> None:
    """Raise `ConfigError` if vectors are to be on disk, but the model reads all of them in every step."""
    if config.profiles.vectors_on_disk and not getattr(config.model, "fanout", ()):
        raise ConfigError(
            "profiles.vectors_on_disk is for training on sampled neighbours, which reads only some of the vectors\n"
            "  Set model.fanout=[10,10] with model.name=spike, or leave it out."
        )


def _check_data(dataset: Dataset, config: RunConfig) -> None:
    """Raise `SpikeError` if there is nothing to train or test on, before any profile is paid for."""
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
    """Set up an existing run from its folder, to resume training or to evaluate.

    Parameters
    ----------
    folder
        Folder of a run that was started.
    overrides
        Settings to change, such as ``training.epochs=200``.
    section
        The only section that may change, besides ``training.device``: data and model stay the same.
    processes
        Processes of data-parallel training. Default: a single one.
    """
    overrides = list(overrides)
    for override in overrides:
        if not override.startswith((f"{section}.", "training.device=")):
            raise ConfigError(f"'{override}': only settings of the {section} section can change here")
    config = config_of(folder, overrides)
    dataset = folder.load_dataset()
    vectors = TextVectors.of_run(folder, dataset.num_users)
    return _set_up(config, folder, dataset, vectors, processes or Processes())


def open_fold_in(folder: RunFolder, dataset: Dataset, embeddings: Mapping[str, FloatArray]) -> FoldIn:
    """Return the fold-in of a run, which embeds users and items added after training. Runs on the CPU.

    Parameters
    ----------
    folder
        Folder of a finished run.
    dataset
        Its data.
    embeddings
        Its final embeddings of ``users`` [U, D] and ``items`` [I, D].

    Raises
    ------
    DataError
        If the run has no ``best.pt``, or one of another model.
    """
    config, vectors = config_of(folder), TextVectors.of_run(folder, dataset.num_users)
    model = _build_model(config, folder, dataset, vectors, torch.device("cpu"))
    assert isinstance(model, EmbeddingModel)  # only trained models store embeddings
    load_best(model, folder, config)
    users, items, dense = embeddings["users"], embeddings["items"], vectors.dense
    dims = [len(term.items.T) for term in (model.linear_term, model.popularity_term) if term is not None]
    own = users.shape[1] - sum(dims)
    ends = np.cumsum([0, own, *dims])  # as in `EmbeddingModel.scored_embeddings`
    parts = [
        LinearFoldIn.fit(dataset, users[:, start:end], items[:, start:end], dense)
        for start, end in pairwise(ends)
    ]
    # Read again when they are needed, so that nothing refers to vectors in memory, which may be larger than the model.
    linear = Once(
        lambda: parts[0] if not dims else LinearFoldIn.fit(dataset, users, items, vectors.dense, own=own)
    )
    return CalibratedFoldIn.fit(_fold_in(model.eval(), users[:, :own], parts), linear, dataset, users, dense)


def _fold_in(model: EmbeddingModel, users: FloatArray, parts: Sequence[LinearFoldIn]) -> FoldIn:
    """Return the fold-in of a model, and of its terms.

    Parameters
    ----------
    model
        The model.
    users
        Its own user embeddings [U, D].
    parts
        Regressions on the model's own embeddings, and on those of each term.
    """
    own, *rest = parts
    found = model.fold_in(own)
    if model.linear_term is not None:
        scale = model.linear_scale(Embeddings(torch.from_numpy(users), torch.from_numpy(own.items)))
        found = JoinedFoldIn(found, LinearTermFoldIn(model.linear_term, scale, rest.pop(0)))
    return found if model.popularity_term is None else JoinedFoldIn(found, rest[0])


def _set_up(
    config: RunConfig, folder: RunFolder, dataset: Dataset, vectors: TextVectors, processes: Processes
) -> Experiment:
    device = _device_of(config, processes)
    keep_freed_memory()
    use_threads(config.training.threads)
    seed_everything(config.training.seed)
    model = _build_model(config, folder, dataset, vectors, device)
    return Experiment(folder, config, dataset, model, device, processes)


def _build_model(
    config: RunConfig, folder: RunFolder, dataset: Dataset, vectors: TextVectors, device: torch.device
) -> RecommenderModel:
    inputs = ModelInputs(build_graph(dataset), *vectors.tensors(), vectors.item_terms, device=device)
    model = model_entry(config.model_name).model(inputs, config.model).to(device)
    if isinstance(model, EmbeddingModel) and isinstance(config.model, RankingOptions):
        _add_terms(model, config.model, dataset, inputs, folder)
    return model


def _add_terms(
    model: EmbeddingModel, options: RankingOptions, dataset: Dataset, inputs: ModelInputs, folder: RunFolder
) -> None:
    if options.linear_weight:
        model.linear_term = LinearTerm.fit(inputs.graph, inputs.num_items, options.linear_rank, inputs.device)
    weight = popularity_weight_of(options, folder)
    model.popularity_term = PopularityTerm.fit(dataset.train, inputs.num_items, weight, inputs.device)


def _device_of(config: RunConfig, processes: Processes) -> torch.device:
    return choose_device(config.training.device, processes.local_rank, processes.local_number)
