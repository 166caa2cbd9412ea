"""Several processes that train one model: each computes on its share of every batch, and gradients are added up.

``torchrun`` starts them. They hold the same model, draw the same random numbers and see the same batches; only the
loss is taken over a share of the batch. So the run is that of one process with the same settings, up to rounding,
however many they are.
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
"""How long a process waits for the others: the first may take that long for profiles, or for a validation."""


class ProcessLostError(SpikeError):
    """Another process of the run has ended, or does not answer."""


class FailedInFirstError(SpikeError):
    """The first process of the run has raised a `SpikeError`, which it prints itself."""

    same_in_all_processes = True


class Processes:
    """The processes of a run, as one of them sees them. This class is the run of a single process.

    All of them call the same methods in the same order.
    """

    rank, number = 0, 1
    """Place of this process among all, and how many they are."""
    local_rank, local_number = 0, 1
    """The same among those on this machine."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def share_of(self, batch: Batch) -> tuple[Batch, float]:
        """This process's part of a batch, and what part of the whole it is; all parts add up to 1.

        Gradients weighted by it add up to those of a mean over the whole batch, and of a term without the batch.
        """
        return batch, 1.0

    def add_up(self, tensors: Sequence[Tensor], weight: float = 1.0) -> Sequence[Tensor]:
        """Sums over all processes of tensors, each process's weighted by its own `weight`."""
        del weight
        return tensors

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Write the values of the first process into the tensors of all."""

    def highest(self, value: int) -> int:
        """The largest of all processes' values."""
        return value

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes."""
        return [value]

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """What `act` returns in the first process, for all; a `SpikeError` that it raises ends all."""
        return act()


class TorchrunProcesses(Processes):
    """The processes that ``torchrun`` started, on one machine or several; the parameters are as in `Processes`."""

    def __init__(self, rank: int, number: int, local_rank: int, local_number: int) -> None:
        self.rank, self.number = rank, number
        self.local_rank, self.local_number = local_rank, local_number

    def share_of(self, batch: Batch) -> tuple[Batch, float]:
        """Consecutive rows, at most one more than in other processes; a batch too small for all goes to all."""
        size = len(batch.users)
        if size < self.number:  # the mean over an empty share would be no number
            return batch, 1.0 / self.number
        first, end = (size * rank // self.number for rank in (self.rank, self.rank + 1))
        part = slice(first, end)
        share = Batch(batch.users[part], batch.positives[part], batch.negatives[part])
        return share, (end - first) / size

    def add_up(self, tensors: Sequence[Tensor], weight: float = 1.0) -> Sequence[Tensor]:
        """In one message; the results are parts of one buffer."""
        buffer = torch.cat([tensor.flatten() for tensor in tensors]) * weight
        with _others_may_be_lost():
            distributed.all_reduce(buffer)
        parts = torch.split(buffer, [tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """One message a tensor."""
        with _others_may_be_lost():
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def highest(self, value: int) -> int:
        """Between the hosts; no GPU is waited for."""
        number = torch.tensor(value)
        with _others_may_be_lost():
            distributed.all_reduce(number, distributed.ReduceOp.MAX)
        return int(number)

    def gather(self, value: Value) -> list[Value]:
        """Values are pickled."""
        values: list[Any] = [None] * self.number
        with _others_may_be_lost():
            distributed.all_gather_object(values, value)
        return values

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """The value is pickled; of an error the others get the message."""
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
    """The processes that ``torchrun`` started, which wait here for each other; without it a single one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Processes()
        return
    # Its functions take the group as a default value when they are first imported, which an optimizer does later on.
    # The group, with its threads, would then outlive `destroy_process_group`, and could abort the process at exit.
    importlib.import_module("torch.distributed.nn.functional")
    # What is on the CPU travels by gloo, what is on GPUs by nccl.
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
            "another process of this run has ended, or does not answer\n"
            "  What it printed says why; where that is nothing it was killed, perhaps for lack of memory.\n"
            "  Go on from the last checkpoint with the same torchrun line and: main.py train --resume RUN\n"
            f"  (torch says: {reason[:160]})"
        ) from None
