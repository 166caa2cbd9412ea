"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from spike_dgl.config import to_mapping
from spike_dgl.errors import ConfigError, NotFiniteError, SpikeError
from spike_dgl.models.base import Batch, EmbeddingModel, Embeddings
from spike_dgl.training.adam import RowAdamW
from spike_dgl.training.checkpoint import check_resumable, load_checkpoint, save_checkpoint
from spike_dgl.training.distributed import Processes
from spike_dgl.training.interrupt import Interrupted, StopRequest
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.resuming import changed_settings, check_changes, chooses_anew
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import random_state, set_random_state
from spike_dgl.training.stopping import EarlyStopping

Validate = Callable[[Embeddings], Mapping[str, float]]
STEPS_BETWEEN_CHECKS = 10
"""Number of steps between updates of the progress bar, which also check that the loss is finite."""


class TrainingDivergedError(NotFiniteError):
    """Losses or parameters became infinite or not a number."""


class EpochLog(Protocol):
    """Log with one record per epoch."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Store a record whose key ``epoch`` counts from 1."""

    def read(self) -> Sequence[Mapping[str, Any]]:
        """Return all records in order."""


class Trainer:
    """Training loop with AdamW, early stopping, and checkpoints to resume from.

    Parameters
    ----------
    model
        The model to train.
    sampler
        Sampler of the batches of an epoch.
    options
        See `TrainingOptions`.
    folder
        Folder of the checkpoints ``last.pt`` and ``best.pt``.
    log
        Log that receives a record of every epoch.
    validate
        Function from embeddings to validation metrics; None without a validation split.
    progress
        Whether to show a progress bar.
    processes
        Processes of data-parallel training. Each has its own trainer; the first one writes the files.
    time_limit
        Seconds after which `fit` ends the current epoch early and validates; None for no limit. For a single process.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        sampler: BprSampler,
        options: TrainingOptions,
        *,
        folder: Path,
        log: EpochLog,
        validate: Validate | None = None,
        progress: bool = True,
        processes: Processes | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.model, self.sampler, self.options = model, sampler, options
        self.processes = processes or Processes()
        self.folder, self.log, self.validate, self.progress = folder, log, validate, progress
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.device = self.parameters[0].device
        # Fused: one kernel for all parameters, which counts its steps on the GPU.
        self.optimizer = RowAdamW(
            self.parameters,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=self.device.type == "cuda" or None,
        )
        self.stopping = EarlyStopping(options.patience)
        self.time_limit, self._started = time_limit, time.perf_counter()
        self.is_out_of_time = False
        """True if the time limit has ended an epoch."""
        self.changed: dict[str, tuple[Any, Any]] = {}
        """Settings changed when the run was resumed: old and new value by name."""
        self.epoch = 1
        """Current epoch, from 1."""
        self.step = 0
        """Number of steps done in the current epoch."""
        self.seconds = 0.0
        """Seconds of training and validation so far, over all resumed parts of the run."""
        self._totals: dict[str, Tensor] = {}
        self._norms: dict[str, Tensor] = {}
        self._epoch_seconds = 0.0
        self._metrics: dict[str, float] = {}

    def fit(self) -> None:
        """Train until the last epoch or until early stopping; ``best.pt`` then contains the model to report.

        Raises
        ------
        Interrupted
            After Ctrl-C or SIGTERM, with everything saved.
        TrainingDivergedError
            If losses or parameters are not finite.
        ProcessLostError
            If another process of data-parallel training has ended.
        """
        self.processes.copy_from_first(self.model.state_dict().values())
        self._started = time.perf_counter()
        with StopRequest() as stop:
            while not self.is_done and not self.is_out_of_time:
                self._train_epoch(stop)
                record = self._finish_epoch()
                if self.processes.is_first:
                    self.log.append(record)
                self.epoch, self.step = self.epoch + 1, 0
                self.save()
                self._stop_if_asked(self._asked(stop))
        if not self.reports_best:
            self._save_best(self.epoch - 1)

    @property
    def is_done(self) -> bool:
        """True after the last epoch, or if early stopping ended the training."""
        return self.epoch > self.options.epochs or self.stopping.should_stop

    @property
    def reports_best(self) -> bool:
        """True if the best epoch is reported, false if the last."""
        return self.validate is not None and self.options.keep == "best"

    @property
    def why_done(self) -> str:
        """Reason why `fit` would not train another epoch, with the setting to change; empty if it would."""
        folder = f"python main.py train --resume {self.folder}"
        if self.stopping.should_stop:
            best, patience = self.stopping.best_epoch, self.options.patience
            return (
                f"nothing left to train: {self.stopping.since_best} validations did not improve "
                f"{self.options.metric} over epoch {best}, and training.patience is {patience}\n"
                f"  To continue: {folder} training.patience=null"
            )
        if self.epoch > self.options.epochs:
            return (
                f"nothing left to train: all {self.options.epochs} epochs are done\n"
                f"  To continue: {folder} training.epochs={2 * self.options.epochs}"
            )
        return ""

    def _train_epoch(self, stop: StopRequest) -> None:
        self.model.train()
        if self.step == 0:
            self._totals, self._norms, self._epoch_seconds = {}, {}, 0.0
        bar = self._progress_bar()
        started = time.perf_counter()
        for batch in self.sampler.epoch(self.epoch, skip=self.step):
            self._train_step(batch)
            self.step += 1
            bar.update()
            asked = self._asked(stop)
            if asked or self.step % STEPS_BETWEEN_CHECKS == 0:
                bar.set_postfix(self._running_losses() | self._headline(), refresh=False)
            if asked and self.step < len(self.sampler):
                self._epoch_seconds += time.perf_counter() - started
                self.save()
                self._stop_if_asked(asked)
            self.is_out_of_time = self._is_time_up()
            if self.is_out_of_time:
                break
        self._epoch_seconds += time.perf_counter() - started
        bar.set_postfix(self._running_losses() | self._headline(), refresh=True)
        bar.close()

    def _is_time_up(self) -> bool:
        return self.time_limit is not None and time.perf_counter() - self._started > self.time_limit

    def _train_step(self, batch: Batch) -> None:
        self._set_learning_rate()
        batch, weight = self.processes.share_of(batch)
        low_precision = self.options.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low_precision):
            try:
                terms = self.model.loss(batch)
            except RuntimeError:  # for example a Cholesky factorisation of parameters that are not finite
                self._check_parameters()
                raise
        self.optimizer.zero_grad(set_to_none=True)
        if self.step == 0:
            self._norms = self._backward_apart(terms, weight)
        else:
            self._backward(terms, weight)
        self.optimizer.step()
        for name, term in terms.items():
            loss = term.detach() * weight
            self._totals[name] = self._totals[name] + loss if name in self._totals else loss

    def _backward(self, terms: Mapping[str, Tensor], weight: float) -> None:
        torch.autograd.backward(list(terms.values()))
        used = [parameter for parameter in self.parameters if parameter.grad is not None]
        gradients = [parameter.grad for parameter in used if parameter.grad is not None]
        for parameter, total in zip(used, self.processes.add_up(gradients, weight), strict=True):
            parameter.grad = total

    def _backward_apart(self, terms: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
        """Compute the gradients of one loss term at a time, add them up, and return the norm of each term's."""
        norms = {}
        for position, (name, term) in enumerate(terms.items(), start=1):
            gradients = torch.autograd.grad(
                term, self.parameters, retain_graph=position < len(terms), allow_unused=True
            )
            used = [(p, g) for p, g in zip(self.parameters, gradients, strict=True) if g is not None]
            totals = self.processes.add_up([gradient for _, gradient in used], weight)
            norms[name] = torch.stack([_norm(total) for total in totals]).norm()
            for (parameter, _), total in zip(used, totals, strict=True):
                parameter.grad = total if parameter.grad is None else parameter.grad + total
        return norms

    def _set_learning_rate(self) -> None:
        done = (self.epoch - 1) * len(self.sampler) + self.step
        factor = learning_rate_factor(done, self.options.epochs * len(self.sampler), self.options)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * factor

    def _running_losses(self) -> dict[str, float]:
        """Return the mean of each loss term over the epoch so far; raise if one is not finite."""
        losses = {name: float(total) / self.step for name, total in self._totals_of_all().items()}
        if not all(map(math.isfinite, losses.values())):
            raise self._diverged(f"the loss is not finite in epoch {self.epoch}: {losses}")
        return losses

    def _check_parameters(self) -> None:
        """Raise if parameters are not finite; the last step may break them although its loss was finite."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters):
            raise self._diverged(f"some parameters are not finite in epoch {self.epoch}")

    def _diverged(self, problem: str) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"{problem}\n"
            f"  Try training.learning_rate={self.options.learning_rate / 10:g}, training.warmup_steps=100, "
            "or check the profile vectors for invalid values.\n"
            f"  The last complete epoch is saved in {self.folder}."
        )

    def _totals_of_all(self) -> dict[str, Tensor]:
        if not self._totals:
            return {}
        return dict(zip(self._totals, self.processes.add_up(list(self._totals.values())), strict=True))

    def _finish_epoch(self) -> dict[str, Any]:
        """Validate if due, save the best model, and return the record of the epoch."""
        started = time.perf_counter()
        losses = self._running_losses()
        self._check_parameters()
        record: dict[str, Any] = {"epoch": self.epoch, "loss": sum(losses.values())}
        record |= {f"loss/{name}": value for name, value in losses.items()}
        record |= {f"gradient_norm/{name}": float(norm) for name, norm in self._norms.items()}
        record |= {"learning_rate": self.optimizer.param_groups[0]["lr"]}
        if self.validate is not None and self._is_time_to_validate():
            self._metrics = self._validated()
            record |= {f"valid/{name}": value for name, value in self._metrics.items()}
            if self.stopping.update(self._metrics[self.options.metric], self.epoch) and self.reports_best:
                self._save_best(self.epoch)
        validation_seconds = time.perf_counter() - started
        self.seconds += self._epoch_seconds + validation_seconds
        return record | {
            "seconds": self._epoch_seconds,
            "validation_seconds": validation_seconds,
            "elapsed_seconds": self.seconds,
        }

    def _is_time_to_validate(self) -> bool:
        is_last = self.epoch == self.options.epochs or self.is_out_of_time
        return is_last or self.epoch % self.options.evaluate_every == 0

    def _validated(self) -> dict[str, float]:
        validate = self.validate
        assert validate is not None
        metrics = self.processes.on_rank_zero(lambda: dict(validate(final_embeddings(self.model))))
        if self.options.metric not in metrics:
            raise SpikeError(
                f"training.metric is '{self.options.metric}', but validation measures: {', '.join(metrics)}"
            )
        return metrics

    def _headline(self) -> dict[str, float]:
        metric = self.options.metric
        return {f"valid {metric}": self._metrics[metric]} if metric in self._metrics else {}

    def _progress_bar(self) -> tqdm[Any]:
        bar = tqdm(
            total=len(self.sampler),
            initial=self.step,
            desc=f"epoch {self.epoch:3d}",
            unit="step",
            leave=False,
            # None: no progress bar if the output is not a terminal
            disable=None if self.progress and self.processes.is_first else True,
            dynamic_ncols=True,
        )
        bar.set_postfix(self._headline(), refresh=False)
        return bar

    def _save_best(self, epoch: int) -> None:
        if self.processes.is_first:
            save_checkpoint({"epoch": epoch, "model": self.model.state_dict()}, self.folder / "best.pt")

    def save(self) -> None:
        """Write ``last.pt``, from which `restore` resumes exactly."""
        if self.step:
            self._running_losses()  # raises before a diverged state replaces a valid one
            self._check_parameters()
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "epoch_seconds": self._epoch_seconds,
            "totals": self._totals_of_all(),
            "gradient_norms": self._norms,
            "metrics": self._metrics,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "options": to_mapping(self.options),
            "random": self.processes.gather(random_state(self.device)),
        }
        if self.processes.is_first:
            save_checkpoint(state, self.folder / "last.pt")

    def restore(self) -> None:
        """Resume from ``last.pt``, and apply the settings changed since then.

        Raises
        ------
        DataError
            If ``last.pt`` is missing, invalid, or of another version.
        ConfigError
            If a changed setting cannot be applied, or makes an epoch the best whose weights were not saved.
        """
        file = self.folder / "last.pt"
        state = load_checkpoint(file)
        check_resumable(state, file)
        self.changed = changed_settings(state.get("options", {}), self.options)
        check_changes(self.changed, state["epoch"], state["step"])
        self.model.load_state_dict(state["model"])
        for group in state["optimizer"]["param_groups"]:  # the run may have been trained on another device
            group["fused"] = self.optimizer.defaults["fused"]
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # each step sets the learning rate
            group["weight_decay"] = self.options.weight_decay
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self._epoch_seconds, self._metrics = state["epoch_seconds"], state["metrics"]
        self._norms = state["gradient_norms"]
        share = 1.0 / self.processes.number
        self._totals = {name: total.to(self.device) * share for name, total in state["totals"].items()}
        self._restore_best()
        # One random state per process; the number of processes may have changed.
        set_random_state(state["random"][self.processes.rank % len(state["random"])], self.device)

    def _restore_best(self) -> None:
        key = f"valid/{self.options.metric}"
        validated = [record for record in self.log.read() if record["epoch"] < self.epoch and _valid(record)]
        values = [(record["epoch"], record[key]) for record in validated if key in record]
        self.stopping = EarlyStopping.replay(self.options.patience, values)
        if validated and self.reports_best and chooses_anew(self.changed):
            if len(values) < len(validated):
                raise ConfigError(
                    f"training.metric={self.options.metric} cannot choose the best of the epochs so far: validation "
                    f"did not measure it\n  It measured: {', '.join(_valid(validated[0]))}."
                )
            self.processes.on_rank_zero(self._find_best)

    def _find_best(self) -> None:
        """Ensure that ``best.pt`` contains the best epoch; raise `ConfigError` if its weights were not saved."""
        file, best = self.folder / "best.pt", self.stopping.best_epoch
        if best == self.epoch - 1 and self.step == 0:
            self._save_best(best)
        elif not file.is_file() or load_checkpoint(file)["epoch"] != best:
            before = ", ".join(f"training.{name}={old}" for name, (old, _) in self.changed.items())
            raise ConfigError(
                f"with training.metric={self.options.metric} and training.keep=best, epoch {best} would be reported, "
                f"but its weights were not saved: the run was trained with {before}\n"
                "  Restore this setting, or train a new run."
            )

    def _asked(self, stop: StopRequest) -> int:
        """Return the signal that asked one of the processes to stop; 0 for none."""
        return self.processes.highest(stop.signal_number or 0)

    def _stop_if_asked(self, signal_number: int) -> None:
        if signal_number:
            raise Interrupted(
                f"stopped in epoch {self.epoch} after {self.step} of {len(self.sampler)} steps; everything is saved.\n"
                f"  Resume with: python main.py train --resume {self.folder}",
                signal_number,
            )


def learning_rate_factor(step: int, total_steps: int, options: TrainingOptions) -> float:
    """Return the share of the learning rate for a step; it depends on nothing else, so resuming needs no state."""
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    if options.schedule == "constant":
        return 1.0
    progress = (step - options.warmup_steps) / max(1, total_steps - options.warmup_steps)
    return 0.01 + 0.99 * (1.0 + math.cos(math.pi * min(1.0, progress))) / 2.0


def _norm(gradient: Tensor) -> Tensor:
    norm: Tensor = (gradient.coalesce().values() if gradient.is_sparse else gradient).norm()
    return norm


def _valid(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the validation metrics in an epoch's record."""
    return [key.removeprefix("valid/") for key in record if key.startswith("valid/")]


@torch.no_grad()
def final_embeddings(model: EmbeddingModel) -> Embeddings:
    """Return a model's embeddings in evaluation mode, without gradients."""
    was_training = model.training
    model.eval()
    try:
        final = model.scored_embeddings()
        # Slices of a parameter require gradients even under no_grad.
        return Embeddings(final.users.detach(), final.items.detach())
    finally:
        model.train(was_training)
