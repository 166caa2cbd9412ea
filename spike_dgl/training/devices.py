"""Choice of the training device."""

from __future__ import annotations

from typing import Literal

import torch

from spike_dgl.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]


def choose_device(
    wanted: Device, local_rank: int = 0, local_number: int = 1, *, setting: str = "training.device"
) -> torch.device:
    """Return the device of a process.

    Parameters
    ----------
    wanted
        ``auto`` is a GPU if torch finds one, else the CPU.
    local_rank, local_number
        Rank of the process on its machine, and number of processes there; each uses its own GPU.
    setting
        Name of the setting, for error messages.

    Raises
    ------
    ConfigError
        If there is no GPU, or there are fewer GPUs than processes.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built_in = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise ConfigError(
            f"{setting} is 'cuda', but torch {torch.__version__} {built_in}\n"
            f"  Set {setting}=cpu, or fix what `python main.py doctor` and `nvidia-smi` report."
        )
    if local_number > torch.cuda.device_count():
        raise ConfigError(
            f"{local_number} processes on this machine, but torch finds {torch.cuda.device_count()} GPUs\n"
            "  Start as many processes as GPUs (--nproc_per_node), or set training.device=cpu."
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def describe_device(device: torch.device) -> str:
    """Return the type and name of a device, for the record of a run."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def peak_device_memory_mb(device: torch.device) -> float | None:
    """Return the peak GPU memory of this process's tensors in MB; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) / 1024**2 if device.type == "cuda" else None
