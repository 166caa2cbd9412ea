"""Server or trainer of one host: ``python -m spike_dgl.partitions.worker FOLDER ROLE``, started by `hosts`."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import yaml
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from spike_dgl.dgl_import import dgl
from spike_dgl.errors import SpikeError
from spike_dgl.partitions.hosts import LOST_OTHERS, Plan
from spike_dgl.partitions.layout import GRAPH, Layout, PartInteractions
from spike_dgl.partitions.tables import Own
from spike_dgl.threads import use_threads
from spike_dgl.training.distributed import Processes, ProcessLostError, TorchrunProcesses

PR_SET_PDEATHSIG = 1
NEVER = timedelta(days=1)
"""Exchanges have no time limit: whoever watches this process ends it when another is lost."""


def main(folder: Path, role: str) -> None:
    """Be a server or a trainer; leave a `SpikeError` in a file for the watching process."""
    _die_with_parent()
    plan = Plan.read(folder / "plan.json")
    try:
        if role == "server":
            _serve()
        else:
            _train(plan, folder, int(role.split()[1]))
    except ProcessLostError:
        os._exit(LOST_OTHERS)
    except SpikeError as error:
        (folder / f"{role}.error").write_text(str(error), encoding="utf-8")
        os._exit(2)
    except (RuntimeError, dgl.DGLError) as error:
        if _is_about_others(error):
            os._exit(LOST_OTHERS)
        traceback.print_exc()
        os._exit(1)  # not at the end of the interpreter, where DGL waits for the others
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, even if the parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def _is_about_others(error: Exception) -> bool:
    words = ("gloo", "Connection", "connection", "closed by peer", "Broken pipe")
    return any(word in str(error) for word in words)


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the watching process
    with _quietly(), contextlib.suppress(SystemExit):  # DGL ends the program after serving
        dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])


def _train(plan: Plan, left: Path, local: int) -> None:
    # A server needs none of these, and starts in half the time without them.
    from spike_dgl.partitions.report import write_trained
    from spike_dgl.partitions.trainer import PartitionTrainer
    from spike_dgl.runs.config import RunConfig
    from spike_dgl.runs.folder import RunFolder

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = RunConfig.from_mapping(yaml.safe_load(plan.config))
    partitions = Path(plan.partitions)
    layout = Layout.read(partitions)
    use_threads(config.training.threads)
    with _all_trainers(plan, local) as processes:
        own = Own.of(layout, plan.host, local, plan.trainers)
        pairs = PartInteractions.read(partitions / f"part{plan.host}" / "interactions.npz", own.part_users)
        folder = RunFolder(Path(plan.run))
        graph = dgl.distributed.DistGraph(GRAPH)
        trainer = PartitionTrainer(
            config, graph, layout, own, pairs, folder, processes, progress=plan.progress
        )
        if plan.resume:
            trainer.restore()
        trainer.fit()
        write_trained(trainer, left, test=plan.test)


@contextlib.contextmanager
def _all_trainers(plan: Plan, local: int) -> Iterator[Processes]:
    """Connect with the servers and the other trainers."""
    with _quietly():
        dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])
    rank = plan.host * plan.trainers + local
    store = TCPStore(plan.store[0], plan.store[1], is_master=False)
    attempt = PrefixStore(f"trainers/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    distributed.init_process_group("gloo", store=attempt, rank=rank, world_size=plan.number, timeout=NEVER)
    yield TorchrunProcesses(rank, plan.number, local, plan.trainers)
    with _quietly():
        dgl.distributed.exit_client()
    distributed.destroy_process_group()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress what DGL prints about every connection."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2])
