"""Data-parallel training: each process computes the loss on its share of every batch, and gradients are added up.

``torchrun`` starts the processes. They have the same model, random numbers and batches. So the result is the same as
with a single process, up to rounding, for any number of processes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from spike_dgl.errors import SpikeError
from spike_dgl.models.base import Batch

Value = TypeVar("Value")

TIMEOUT = timedelta(minutes=30)
"""Maximum time that a process waits for the others, which the first may need for profiles or validation."""


class ProcessLostError(SpikeError):
    """Another process of the run has ended or does not respond."""


class FailedInFirstError(SpikeError):
    """The first process of the run raised a `SpikeError`, which it prints itself."""

    same_in_all_processes = True


class Processes:
    """Communication with the other processes of a run; this base class is for a run of one process.

    All processes must call the same methods in the same order.
    """

    rank, number = 0, 1
    """Rank of this process, and number of processes."""
    local_rank, local_number = 0, 1
    """Rank and number of processes on this machine."""

    @property
    def is_first(self) -> bool:
        """True for the process that writes files and prints."""
        return self.rank == 0

    def share_of(self, batch: Batch) -> tuple[Batch, float]:
        """Return this process's share of a batch, and its weight; the weights of all processes add up to 1.

        With these weights, gradients add up to those of a mean over the whole batch, also for loss terms that do not
        depend on the batch.
        """
        return batch, 1.0

    def add_up(self, tensors: Sequence[Tensor], weight: float = 1.0) -> Sequence[Tensor]:
        """Return the sums of tensors over all processes, each process weighted by its `weight`."""
        del weight
        return tensors

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Copy the values of the first process into the tensors of all."""

    def highest(self, value: int) -> int:
        """Return the maximum over all processes."""
        return value

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes."""
        return [value]

    def gather_to_first(self, value: Value) -> list[Value]:
        """Return the values of all processes in the first, and nothing in the others."""
        return [value]

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Call `act` in the first process and return its result in all; a `SpikeError` is raised in all."""
        return act()


class TorchrunProcesses(Processes):
    """Communication between processes started by ``torchrun``, on one machine or several; see `Processes`."""

    def __init__(self, rank: int, number: int, local_rank: int, local_number: int) -> None:
        self.rank, self.number = rank, number
        self.local_rank, self.local_number = local_rank, local_number

    def share_of(self, batch: Batch) -> tuple[Batch, float]:
        """Return consecutive rows, as many as the others' or one more; a batch too small for all goes to all."""
        size = len(batch.users)
        if size < self.number:  # the mean over an empty share would be nan
            return batch, 1.0 / self.number
        first, end = (size * rank // self.number for rank in (self.rank, self.rank + 1))
        part = slice(first, end)
        share = Batch(batch.users[part], batch.positives[part], batch.negatives[part])
        return share, (end - first) / size

    def add_up(self, tensors: Sequence[Tensor], weight: float = 1.0) -> Sequence[Tensor]:
        """Add up all dense tensors in one message, as views of one buffer; and each sparse one, of other rows each."""
        dense = iter(self._add_up_dense([tensor for tensor in tensors if not tensor.is_sparse], weight))
        return [self._add_up_rows(each, weight) if each.is_sparse else next(dense) for each in tensors]

    def _add_up_dense(self, tensors: Sequence[Tensor], weight: float) -> Sequence[Tensor]:
        buffer = torch.cat([tensor.flatten() for tensor in tensors]) * weight
        with _others_may_be_lost():
            distributed.all_reduce(buffer)
        parts = torch.split(buffer, [tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def _add_up_rows(self, tensor: Tensor, weight: float) -> Tensor:
        total = (tensor.coalesce() * weight).cpu()  # of the two backends, only gloo adds up sparse tensors
        with _others_may_be_lost():
            distributed.all_reduce(total)
        return total.to(tensor.device)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Broadcast each tensor."""
        with _others_may_be_lost():
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def highest(self, value: int) -> int:
        """Return the maximum, exchanged between CPUs so that no GPU is synchronised."""
        number = torch.tensor(value)
        with _others_may_be_lost():
            distributed.all_reduce(number, distributed.ReduceOp.MAX)
        return int(number)

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, exchanged as pickles."""
        values: list[Any] = [None] * self.number
        with _others_may_be_lost():
            distributed.all_gather_object(values, value)
        return values

    def gather_to_first(self, value: Value) -> list[Value]:
        """Return the values of all processes in the first, exchanged as pickles."""
        values: list[Any] | None = [None] * self.number if self.is_first else None
        with _others_may_be_lost():
            distributed.gather_object(value, values)
        return values or []

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Call `act` in the first process; the others receive its pickled result, or the message of its error."""
        error: SpikeError | None = None
        answer: list[Any] = [None, None]
        if self.is_first:
            try:
                answer[0] = act()
            except SpikeError as raised:
                error, answer[1] = raised, str(raised)
        with _others_may_be_lost():
            distributed.broadcast_object_list(answer, src=0)
        if answer[1] is not None:
            raise error or FailedInFirstError(answer[1])
        value: Value = answer[0]
        return value


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, waiting for all; without it, yield a single process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Processes()
        return
    # This module's functions capture the default group when it is first imported, which an optimiser does later.
    # The group, with its threads, would then outlive `destroy_process_group`, and could abort the process at exit.
    importlib.import_module("torch.distributed.nn.functional")
    # gloo for CPU tensors, nccl for GPU tensors.
    has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=TIMEOUT)
    try:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        yield TorchrunProcesses(*(int(os.environ[name]) for name in names))
    finally:
        distributed.destroy_process_group()


@contextmanager
def _others_may_be_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ProcessLostError(
            "another process of this run has ended or does not respond\n"
            "  See its output for the reason; without any output it was killed, perhaps for lack of memory.\n"
            "  Resume from the last checkpoint with the same torchrun command and: main.py train --resume RUN\n"
            f"  (torch says: {reason[:160]})"
        ) from None
