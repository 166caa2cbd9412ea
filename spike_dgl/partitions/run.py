"""A run on partitions, from the command on each host to the run folder on the first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spike_dgl.config import to_mapping
from spike_dgl.data.options import DataOptions
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.partitions.hosts import Hosts, run_on_partitions
from spike_dgl.partitions.layout import AGAIN, FIRST_HOST, Layout
from spike_dgl.partitions.models import check_config
from spike_dgl.partitions.report import write_result
from spike_dgl.profiles import ProfileOptions
from spike_dgl.runs.config import RunConfig, config_of, load_config
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import new_folder

SAME_COMMAND = "Start the same command on every host."


@dataclass(frozen=True)
class Command:
    """Command of the user, the same on every host.

    Parameters
    ----------
    partitions
        Folder of the parts on this host.
    overrides, config_file
        Settings.
    out, resume
        New run folder, or the one to resume.
    trainers
        Trainers per host.
    test, progress
        Whether to test at the end, and to show a progress bar.
    """

    partitions: Path
    overrides: Sequence[str] = ()
    config_file: Path | None = None
    out: Path | None = None
    resume: Path | None = None
    trainers: int = 1
    test: bool = True
    progress: bool = True


@dataclass(frozen=True)
class Finished:
    """Result on this host: the run folder on the first, and the peak memory of each process in MB."""

    folder: RunFolder | None
    peaks_mb: dict[str, float]


def train_on_partitions(command: Command) -> Finished:
    """Train on this host's part together with the other hosts.

    Raises
    ------
    SpikeError
        If a setting, a part or another host is wrong or lost. All hosts raise it.
    """
    hosts = Hosts.join()
    try:
        return _train(command, hosts)
    except SpikeError as error:
        hosts.report(str(error))
        hosts.part(patiently=False)
        raise


def _train(command: Command, hosts: Hosts) -> Finished:
    layout = Layout.read(command.partitions)
    if hosts.number != layout.num_parts:
        raise ConfigError(
            f"{hosts.number} hosts, but {command.partitions} has {layout.num_parts} parts\n"
            f"  Start on {layout.num_parts} hosts (torchrun --nnodes), or partition again with "
            f"--parts {hosts.number}."
        )
    layout.check_part(command.partitions, hosts.host)
    hosts.check_alike("partition", layout.fingerprint, AGAIN)
    asked = [list(command.overrides), command.trainers, command.resume is not None, command.test]
    hosts.check_alike("command", asked, SAME_COMMAND)
    folder, chosen = None, None
    if hosts.host == 0:
        folder, config = _folder_and_config(command, layout)
        chosen = [str(folder.path), config.to_yaml()]
    path, settings = hosts.exchange("run", chosen)[0]
    Path(path).mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory() as temporary:
            peaks = run_on_partitions(
                hosts,
                command.partitions.resolve(),
                Path(path).resolve(),
                Path(temporary),
                settings,
                trainers=command.trainers,
                resume=command.resume is not None,
                test=command.test,
                progress=command.progress,
            )
            if folder is not None:
                write_result(folder, config_of(folder), layout.num_parts, Path(temporary))
    finally:
        if folder is not None:
            folder.unlock()
    return Finished(folder, peaks)


def _folder_and_config(command: Command, layout: Layout) -> tuple[RunFolder, RunConfig]:
    """Create or open the run folder on the first host, with the files that do not depend on training."""
    fixed = [key for key in command.overrides if key.startswith(("data.", "profiles."))]
    if fixed:
        raise ConfigError(
            f"'{fixed[0]}': the parts have their data and profiles\n  Partition again with this setting."
        )
    inputs = command.partitions / FIRST_HOST
    if not layout.has_unchanged_data:
        RunFolder.open(
            inputs
        ).load_dataset()  # raises now, and not after training, if the data itself has changed
    if command.resume is not None:
        folder = RunFolder.open(command.resume)
        config = config_of(folder, command.overrides)
        _check_resumed(folder, config, layout)
        folder.lock()
        folder.write_text("config.yaml", config.to_yaml())
        return folder, config
    config = _with_sections_of(layout, load_config(command.config_file, command.overrides))
    check_config(config, layout)
    folder = new_folder(config, command.out)
    for file in inputs.iterdir():
        if file.name != "config.yaml":
            shutil.copy2(file, folder.path)
    folder.write_text("config.yaml", config.to_yaml())
    return folder, config


def _check_resumed(folder: RunFolder, config: RunConfig, layout: Layout) -> None:
    check_config(config, layout)
    before = folder.settings()
    after = config.to_mapping()
    for section in ("model", "evaluation"):
        if before[section] != after[section]:
            raise ConfigError(f"the section {section} cannot change when a run on partitions is resumed")
    if to_mapping(config.data) != layout.data:
        raise ConfigError(
            "the run and the partitions are of different data\n  Give the partitions of its data."
        )


def _with_sections_of(layout: Layout, config: RunConfig) -> RunConfig:
    """Return the settings with data and profiles of the parts; raise if a file asks for others."""
    mapping = config.to_mapping()
    sections: dict[str, tuple[Any, dict[str, Any]]] = {
        "data": (DataOptions, layout.data),
        "profiles": (ProfileOptions, layout.profiles),
    }
    for section, (options, of_parts) in sections.items():
        default = to_mapping(options())
        for name, value in mapping[section].items():
            if value not in (default[name], of_parts[name]) and name != "path":
                raise ConfigError(
                    f"{section}.{name} is {value}, but the parts were made with {of_parts[name]}\n"
                    "  Partition again with this setting, or leave it out."
                )
        mapping[section] = of_parts
    return RunConfig.from_mapping(mapping)
