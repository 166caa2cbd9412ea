"""The training loop of one trainer process."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from spike_dgl.config import to_mapping
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import Batch, Embeddings, PopularityWeight
from spike_dgl.partitions.inference import embeddings, propagate, with_popularity_term
from spike_dgl.partitions.layout import Layout, PartInteractions
from spike_dgl.partitions.models import build_model
from spike_dgl.partitions.ranking import means, rank_own
from spike_dgl.partitions.sampler import PartitionSampler
from spike_dgl.partitions.shards import Shards
from spike_dgl.partitions.tables import Own, Tables
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.training.distributed import Processes
from spike_dgl.training.resuming import changed_settings, check_changes, chooses_anew
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.stopping import EarlyStopping
from spike_dgl.training.trainer import STEPS_BETWEEN_CHECKS, TrainingDivergedError, learning_rate_factor


class PartitionTrainer:
    """Training on partitions: each process trains on the interactions of its own users.

    Every process takes the same number of steps an epoch, with batches in proportion to its interactions. Negatives,
    the softmax and matching are inside a process's batch. A checkpoint is written after every epoch.

    Parameters
    ----------
    config
        Settings of the run.
    graph
        DistDGL's graph.
    layout
        Layout of the parts.
    own
        Nodes and users of this process.
    pairs
        Interactions of these users.
    folder
        Run folder on this host.
    processes
        All trainers.
    progress
        Whether to show a progress bar.
    """

    def __init__(
        self,
        config: RunConfig,
        graph: Any,
        layout: Layout,
        own: Own,
        pairs: PartInteractions,
        folder: RunFolder,
        processes: Processes,
        *,
        progress: bool = True,
    ) -> None:
        self.config, self.options, self.layout = config, config.training, layout
        self.own, self.pairs, self.folder, self.processes = own, pairs, folder, processes
        seed_everything(self.options.seed)  # the parameters are the same in all processes
        self.model = build_model(config, layout)
        self.tables = Tables(graph, layout, own, config.model.embedding_dim, self.options.learning_rate)
        self.tables.initialise(_seed(self.options.seed, processes.rank))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters.values(), lr=self.options.learning_rate, weight_decay=0.0
        )
        self.sampler = PartitionSampler(
            self.tables.graph,
            layout,
            config.model.fanout,
            kg_dropout=self.model.kg_dropout,
            interaction_dropout=self.model.interaction_dropout,
        )
        self.batches = BprSampler(
            pairs.train,
            len(own.users),
            layout.num_items,
            batch_size=len(pairs.train),  # an epoch, which is then cut into as many steps as the others take
            seed=_seed(self.options.seed, processes.rank),
        )
        self.steps, self.weight_of_pair = self._steps()
        self.shards = Shards(folder.path, processes)
        self.stopping = EarlyStopping(self.options.patience)
        self.epoch, self.seconds, self.progress = 1, 0.0, progress
        self._part = layout.part(self.tables.graph.get_partition_book().partid)
        self._rows, self._rows_of_others = 0, 0
        self.validates = any(processes.gather(len(pairs.valid)))

    def _steps(self) -> tuple[int, float]:
        """Return the number of steps of an epoch, and the share of one interaction in a step."""
        own = len(self.pairs.train) - self.batches.num_left_out
        of_all = self.processes.gather(own)
        if not min(of_all):
            raise ConfigError(
                "a trainer has no interactions to train on\n  Use fewer trainers (--trainers) or parts."
            )
        steps = min(-(-sum(of_all) // self.options.batch_size), min(of_all))
        return steps, steps / sum(of_all)

    def fit(self) -> None:
        """Train until the last epoch or until early stopping."""
        while self.epoch <= self.options.epochs and not self.stopping.should_stop:
            seed_everything(_seed(self.options.seed, self.processes.rank, self.epoch))
            record = self._train_epoch()
            record |= self._validate_if_due()
            self.seconds += record["seconds"] + record["validation_seconds"]
            self._save()
            if self.processes.is_first:
                self.folder.metrics().append({**record, "elapsed_seconds": self.seconds})
            self.epoch += 1

    @property
    def reported_epoch(self) -> int:
        """Epoch to report."""
        best = self.validates and self.options.keep == "best"
        return self.stopping.best_epoch if best else self.epoch - 1

    def infer(self) -> None:
        """Compute the final embeddings of all nodes."""
        propagate(self.model, self.tables, self.sampler)

    def with_popularity(self, own: Embeddings, weight: PopularityWeight) -> Embeddings:
        """Add the popularity term to `embeddings`; none if the weight is ``auto``, which is chosen after training.

        All processes must call it together.
        """
        weight = 0.0 if weight == "auto" else weight
        return with_popularity_term(own, self.pairs.popularity, weight, self.processes)

    def _train_epoch(self) -> dict[str, Any]:
        self.model.model.train()
        started, totals, sent = time.perf_counter(), dict[str, Tensor](), sent_bytes()
        self._rows, self._rows_of_others = 0, 0
        bar = tqdm(
            total=self.steps,
            desc=f"epoch {self.epoch:3d}",
            unit="step",
            leave=False,
            disable=None if self.progress and self.processes.is_first else True,
        )
        for step, batch in enumerate(self._batches()):
            for name, loss in self._step(step, batch).items():
                totals[name] = totals.get(name, torch.zeros(())) + loss
            if step % STEPS_BETWEEN_CHECKS == 0:
                self._check(totals)
            bar.update()
        bar.close()
        self._check(totals)
        losses = self.processes.add_up(list(totals.values()))
        of_terms = {
            f"loss/{name}": float(loss) / self.steps for name, loss in zip(totals, losses, strict=True)
        }
        return {
            "epoch": self.epoch,
            "loss": sum(of_terms.values()),
            **of_terms,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "sent_mb": self._of_hosts(sent_bytes() - sent) / 1e6,
            "input_rows": sum(self.processes.gather(self._rows)),
            "input_rows_of_others": sum(self.processes.gather(self._rows_of_others)),
            "seconds": time.perf_counter() - started,
        }

    def _of_hosts(self, value: int) -> int:
        """Return the sum over hosts of a value that all trainers of a host have."""
        return sum(self.processes.gather(value if self.processes.local_rank == 0 else 0))

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches of an epoch; sizes differ by at most one."""
        (epoch,) = self.batches.epoch(self.epoch)
        number = len(epoch.users)
        for step in range(self.steps):
            yield epoch.select(slice(number * step // self.steps, number * (step + 1) // self.steps))

    def _step(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """Do one step, and return this process's share of each loss term."""
        self._set_learning_rate(step)
        layout = self.layout
        users = batch.users + self.own.users.start
        items = layout.item_ids(torch.cat([batch.positives, batch.negatives]))
        rows = torch.cat([users, items + layout.num_nodes])
        flow = self.sampler.draw(rows)
        nodes = layout.ids(flow.input_nodes)
        self._rows += len(nodes)
        self._rows_of_others += int(((nodes < self._part.start) | (nodes >= self._part.stop)).sum())
        self.optimizer.zero_grad()
        self.tables.optimizer.zero_grad()
        terms = self.model.loss(flow, self.tables.ids(nodes), self.tables.texts(nodes), rows)
        weight = len(batch.users) * self.weight_of_pair
        terms = {name: term * weight for name, term in terms.items()}
        torch.autograd.backward(list(terms.values()))
        parameters = self.model.parameters.values()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        for parameter, total in zip(parameters, self.processes.add_up(gradients), strict=True):
            parameter.grad = total
        self.optimizer.step()
        self.tables.optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def _set_learning_rate(self, step: int) -> None:
        done = (self.epoch - 1) * self.steps + step
        factor = learning_rate_factor(done, self.options.epochs * self.steps, self.options)
        rate = self.options.learning_rate * factor
        self.optimizer.param_groups[0]["lr"] = self.tables.optimizer.learning_rate = rate

    def _check(self, totals: Mapping[str, Tensor]) -> None:
        if not all(math.isfinite(float(total)) for total in totals.values()):
            raise TrainingDivergedError(
                f"the loss is not finite in epoch {self.epoch}\n"
                f"  Try training.learning_rate={self.options.learning_rate / 10:g}."
            )

    def _validate_if_due(self) -> dict[str, Any]:
        started, metrics = time.perf_counter(), dict[str, float]()
        due = self.epoch % self.options.evaluate_every == 0 or self.epoch == self.options.epochs
        if self.validates and due:
            self.infer()
            own = embeddings(self.model, self.tables)
            final = self.with_popularity(own, self.config.model.popularity_weight)
            ranked = rank_own(final, self.pairs, "valid", self.config.validation)
            metrics = means(ranked, self.processes)
            self.stopping.update(metrics[self.options.metric], self.epoch)
        record: dict[str, Any] = {f"valid/{name}": value for name, value in metrics.items()}
        return record | {"validation_seconds": time.perf_counter() - started}

    def _save(self) -> None:
        state = {
            "model": {name: p.detach() for name, p in self.model.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "options": to_mapping(self.options),
            "seconds": self.seconds,
            "stopping": [self.stopping.best, self.stopping.best_epoch, self.stopping.since_best],
        }
        self.shards.save(self.epoch, self.tables, state)
        # The one before as well: another host may be lost before it has completed this one.
        self.shards.keep({self.epoch, self.epoch - 1, self.stopping.best_epoch})

    def restore(self) -> None:
        """Resume after the newest complete checkpoint, if there is one."""
        epoch = self.shards.newest(self.tables)
        if not epoch:
            return
        state = self.load(epoch)
        changed = changed_settings(state["options"], self.options)
        check_changes(changed, epoch, 0)
        if chooses_anew(changed):
            raise ConfigError("training.metric and training.keep cannot change in a run on partitions")
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds = epoch + 1, state["seconds"]
        best, best_epoch, since_best = state["stopping"]
        self.stopping = EarlyStopping(self.options.patience, best, best_epoch, since_best)
        self.shards.keep({epoch, epoch - 1, best_epoch})  # newer ones are incomplete
        if self.processes.is_first:
            self.folder.metrics().keep_before(self.epoch)
            self.folder.add_resumption({"epoch": self.epoch, "step": 0, "changed": _told(changed)})

    def load(self, epoch: int) -> dict[str, Any]:
        """Load the parameters and tables of a checkpoint, and return the rest of it."""
        state = self.shards.load(epoch, self.tables)
        with torch.no_grad():
            for name, parameter in self.model.parameters.items():
                parameter.copy_(state["model"][name])
        return state


def sent_bytes() -> int:
    """Return the bytes that this host has sent to others so far."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    interfaces = {
        name.strip(): numbers.split() for name, _, numbers in (line.partition(":") for line in lines)
    }
    return sum(int(numbers[8]) for name, numbers in interfaces.items() if name != "lo")


def _told(changed: Mapping[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {f"training.{name}": list(values) for name, values in changed.items()}


def _seed(*numbers: int) -> int:
    """Combine numbers to a random seed."""
    return hash(numbers) % 2**63
