"""Settings of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.training.devices import Device


@dataclass(frozen=True, config=STRICT)
class TrainingOptions:
    """How a model is trained.

    Parameters
    ----------
    epochs
        At most so many passes over the training interactions.
    batch_size
        Interactions a step, of all processes together.
    learning_rate
        Adam's step size.
    schedule
        ``constant``, or ``cosine``: down to a hundredth of the learning rate at the last epoch.
    warmup_steps
        Steps over which the learning rate rises from zero first.
    weight_decay
        Decoupled weight decay of all parameters (AdamW); 0 is plain Adam.
    negative_popularity
        Negatives are drawn in proportion to an item's number of training users to this power. 0 draws them uniformly,
        as nearly all papers do; below 0 spares popular items, above 0 prefers them.
    negatives_from
        ``all`` items, as in nearly all papers, or the ``seen`` ones, which have a training user: an item that came too
        late for training is not one that users chose against.
    recency
        0 draws every interaction once an epoch, as nearly all papers do. Above 0, recency-weighted sampling: a user's
        later interactions are drawn more often, in proportion to their place in the user's history to this power.
        Needs data with times.
    metric
        Validation metric that chooses the best epoch and stops training; its list length need not be one of
        ``evaluation.cutoffs``.
    evaluate_every
        Epochs between two validations.
    patience
        Validations without a new best before training stops; null trains all epochs.
    keep
        ``best`` reports the epoch with the best validation metric, ``last`` the last one (the authors' code).
        Without validation data it is the last one.
    seed
        Of initial weights, dropout, shuffling and negatives.
    device
        ``cpu``, ``cuda``, or ``auto``: the GPU where torch finds one.
    precision
        ``float32``, or ``bfloat16`` for the matrix products of a training step; losses and sums along edges stay in
        float32, and so do parameters, validation and test.
    threads
        CPU threads for torch; null takes as many as there are CPUs to use, by the process's affinity and its
        container's quota.
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
