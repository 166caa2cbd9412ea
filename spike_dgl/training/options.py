"""Settings of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.training.devices import Device


@dataclass(frozen=True, config=STRICT)
class TrainingOptions:
    """Settings of training.

    Parameters
    ----------
    epochs
        Maximum number of passes over the training interactions.
    batch_size
        Number of interactions per step, over all processes.
    learning_rate
        Learning rate of AdamW.
    schedule
        Learning rate schedule: ``constant``, or ``cosine`` decay to a hundredth at the last epoch.
    warmup_steps
        Number of first steps over which the learning rate increases linearly from zero.
    weight_decay
        Decoupled weight decay of all parameters (AdamW); 0 is plain Adam.
    negative_popularity
        Exponent of popularity-based negative sampling: items are drawn with probability proportional to their number
        of training users to this power. 0 is uniform, as in nearly all papers; values below 0 prefer unpopular items.
    negatives_from
        Candidates of negative sampling: ``all`` items, as in nearly all papers, or ``seen`` items only, which have
        training users. Users could not have interacted with an item that appeared after the training period.
    recency
        Exponent of recency-weighted sampling: a user's interactions are drawn with probability proportional to their
        position in the user's history to this power. 0 draws every interaction once per epoch, as in nearly all
        papers. Above 0 needs data with times.
    metric
        Validation metric for early stopping and for choosing the best epoch; its cutoff need not be one of
        ``evaluation.cutoffs``.
    evaluate_every
        Number of epochs between validations.
    patience
        Number of validations without improvement before training stops; null disables early stopping.
    keep
        Epoch to report: ``best`` by the validation metric, or ``last`` (the authors' code). Without validation data
        it is the last.
    seed
        Random seed of initial weights, dropout, shuffling and negative sampling.
    device
        ``cpu``, ``cuda``, or ``auto``: a GPU if torch finds one.
    precision
        ``float32``, or ``bfloat16`` for the matrix products of training steps. Losses, sums along edges, parameters,
        validation and test are always in float32.
    threads
        Number of CPU threads for torch; null uses all CPUs that the process's affinity and its container's quota
        allow.
    map_embeddings_above
        Size in GB of the final embeddings above which they are stored as memory-mapped arrays, of which recommendations
        read only what they need.
    """

    epochs: int = Field(default=200, ge=1)
    batch_size: int = Field(default=4096, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0.0, le=1e3)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    negative_popularity: float = Field(default=0.0, ge=-2.0, le=2.0)
    negatives_from: Literal["all", "seen"] = "all"
    recency: float = Field(default=0.0, ge=0.0, le=20.0)
    metric: str = "ndcg@20"
    evaluate_every: int = Field(default=1, ge=1)
    patience: int | None = Field(default=20, ge=1)
    keep: Literal["best", "last"] = "best"
    seed: int = Field(default=2020, ge=0, le=2**63 - 1)
    device: Device = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = Field(default=None, ge=1, le=512)
    map_embeddings_above: float = Field(default=4.0, ge=0.0)
