"""The process that starts and watches one host's server and trainers, and agrees with those of the other hosts.

DistDGL waits forever for a process that has died. So nothing in a run waits without a watcher: this process holds no
tables and takes part in no exchange. It sees when one of its children ends, says so in a key-value store, and writes a
heartbeat there. When a child of any host has failed, or a host is silent, it kills its own children and raises an error
that says who failed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.partitions.layout import DGL_LAYOUT, GRAPH
from spike_dgl.runs.folder_lock import FolderLock
from spike_dgl.training.interrupt import Interrupted, StopRequest

POLL_SECONDS = 0.5
SILENT_SECONDS = 20.0
"""Time without a heartbeat after which a host counts as lost."""
FIRST_CAUSE_SECONDS = SILENT_SECONDS + 5.0
"""Time that a host whose process lost its connections waits for the cause, which another host may tell."""
PARTING_SECONDS = 5.0
"""Time that the first host waits for the others to read of a failure."""
JOIN_SECONDS = 300.0
"""Time that hosts wait for each other at the start."""
LOST_OTHERS = 75
"""Exit code of a child that lost its connection to another process."""
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Plan:
    """Job of a host's child processes, in a file that they read.

    Parameters
    ----------
    partitions
        Folder of the parts.
    run
        Run folder on this host.
    config
        Settings of the run, as YAML.
    addresses
        IPv4 address of each host.
    host, trainers
        Number of this host, and number of trainers per host.
    store
        Address and port of the key-value store.
    resume, test, progress
        Whether to resume, to test at the end, and to show a progress bar.
    """

    partitions: str
    run: str
    config: str
    addresses: tuple[str, ...]
    host: int
    trainers: int
    store: tuple[str, int]
    resume: bool
    test: bool
    progress: bool

    @classmethod
    def read(cls, file: Path) -> Plan:
        """Read a plan."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    @property
    def number(self) -> int:
        """Number of trainers on all hosts."""
        return self.trainers * len(self.addresses)


class HostLostError(SpikeError):
    """A process or a host of the run has failed."""


class Hosts:
    """This host among all hosts of a run.

    Parameters
    ----------
    number
        Number of hosts.
    host
        Number of this host.
    store
        Key-value store that all hosts reach.
    endpoint
        Its address and port.
    """

    def __init__(self, number: int, host: int, store: Store, endpoint: tuple[str, int]) -> None:
        self.number, self.host, self.store, self.endpoint = number, host, store, endpoint
        self.address = _own_address(endpoint[0]) if number > 1 else socket.gethostbyname(endpoint[0])
        self._beats = 0
        self._seen: dict[int, tuple[str, float]] = {}
        self.names = [f"host {host}" for host in range(number)]

    @classmethod
    def join(cls) -> Hosts:
        """Join the hosts on which ``torchrun`` started this program; without it there is one host."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            return cls(1, 0, store, ("127.0.0.1", store.port))
        if os.environ["LOCAL_WORLD_SIZE"] != "1":
            raise ConfigError(
                "with --partitions, torchrun starts one process per host, which starts the trainers\n"
                "  Set --nproc_per_node=1, and --trainers to the number of trainers per host."
            )
        endpoint = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(*endpoint, is_master=False, timeout=timedelta(seconds=JOIN_SECONDS))
        attempt = PrefixStore(f"spike/{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        return cls(int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"]), attempt, endpoint)

    def exchange(self, about: str, value: Any) -> list[Any]:
        """Return the values of all hosts. Raises `HostLostError` if one does not appear."""
        self.store.set(f"{about}/{self.host}", json.dumps(value))
        values = []
        for host in range(self.number):
            self._wait_for(host, f"{about}/{host}")
            values.append(json.loads(self.store.get(f"{about}/{host}")))
        return values

    def _wait_for(self, host: int, key: str) -> None:
        deadline = time.monotonic() + JOIN_SECONDS
        while not self.store.check([key]):
            if self.store.check(["failure"]):
                raise HostLostError(self.store.get("failure").decode())
            if time.monotonic() > deadline:
                raise HostLostError(
                    f"{self.names[host]} did not join within {JOIN_SECONDS:.0f} seconds\n"
                    "  Start the same command on every host; see its output there."
                )
            time.sleep(0.1)

    def check_alike(self, about: str, value: Any, remedy: str) -> None:
        """Raise `ConfigError` if another host has another value than the first."""
        first, *others = self.exchange(about, value)
        for host, other in enumerate(others, start=1):
            if other != first:
                raise ConfigError(
                    f"host {host} has another {about} than host 0: {other} and {first}\n  {remedy}"
                )

    def beat(self) -> None:
        """Write a heartbeat, and raise `HostLostError` if another host is silent or has reported a failure."""
        lost: list[Exception] = []

        def exchange() -> None:
            try:
                self._exchange_beats()
            except (HostLostError, RuntimeError) as error:
                lost.append(error)

        if not _within(SILENT_SECONDS, exchange) or (lost and not isinstance(lost[0], HostLostError)):
            raise HostLostError(
                f"{self.names[0]} does not respond: its machine, its network or its first process is lost"
            )
        if lost:
            raise lost[0]

    def _exchange_beats(self) -> None:
        self._beats += 1
        self.store.set(f"beat/{self.host}", str(self._beats))
        if self.store.check(["failure"]):
            raise HostLostError(self.store.get("failure").decode())
        for host in range(self.number):
            self._listen(host)

    def _listen(self, host: int) -> None:
        now, key = time.monotonic(), f"beat/{host}"
        beat = self.store.get(key).decode() if self.store.check([key]) else ""
        last, since = self._seen.get(host, ("", now))
        self._seen[host] = (beat, now if beat != last else since)
        if now - self._seen[host][1] > SILENT_SECONDS and not self.store.check([f"done/{host}"]):
            raise HostLostError(
                f"{self.names[host]} has not responded for {SILENT_SECONDS:.0f} seconds: "
                "its machine, its network or its first process is lost"
            )

    def report(self, failure: str) -> None:
        """Tell the other hosts of a failure, unless one was reported before."""
        _within(PARTING_SECONDS, lambda: self.store.compare_set("failure", "", failure))

    def part(self, *, patiently: bool) -> None:
        """Say that this host is done; the first waits for the others, since torchrun may hold the store there."""
        _within(PARTING_SECONDS, lambda: self.store.set(f"done/{self.host}", "1"))
        if self.host == 0:
            keys, seconds = (
                [f"done/{host}" for host in range(self.number)],
                60 if patiently else PARTING_SECONDS,
            )
            _within(seconds, lambda: self.store.wait(keys, timedelta(seconds=seconds)))


def _within(seconds: float, act: Callable[[], object]) -> bool:
    """Run `act` in a thread, ignoring errors of the store, and return whether it has ended in time.

    An exchange with a host whose network is lost may not end for minutes.
    """

    def run() -> None:
        with suppress(RuntimeError):
            act()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _own_address(other: str) -> str:
    """Return the IPv4 address from which this host reaches another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((other, 1))
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        raise ConfigError(
            f"--master_addr={other} is an address of this host only\n"
            "  Give the address at which the other hosts reach the first."
        )
    return address


def interface_of(address: str) -> str | None:
    """Return the network interface with an IPv4 address; None if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                found = fcntl.ioctl(probe.fileno(), 0x8915, struct.pack("256s", name.encode()))  # SIOCGIFADDR
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    return None


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port


def run_on_partitions(
    hosts: Hosts, partitions: Path, run: Path, folder: Path, config: str, **options: Any
) -> dict[str, float]:
    """Start this host's server and trainers, watch them until they end, and return the peak memory of each in MB.

    Parameters
    ----------
    hosts
        All hosts.
    partitions
        Folder of the parts.
    run
        Run folder on this host.
    folder
        Folder for files of this host's processes; the first trainer leaves its lists there.
    config
        Settings of the run, as YAML.
    options
        ``trainers``, ``resume``, ``test`` and ``progress`` of `Plan`.

    Raises
    ------
    HostLostError
        If a process or a host fails; all others have ended.
    Interrupted
        If the user stops the run.
    """
    addresses = hosts.exchange("address", hosts.address)
    hosts.names = [f"host {host} ({address})" for host, address in enumerate(addresses)]
    ports = hosts.exchange("port", _free_port(hosts.address))
    plan = Plan(
        partitions=str(partitions),
        run=str(run),
        config=config,
        addresses=tuple(addresses),
        host=hosts.host,
        store=hosts.endpoint,
        **options,
    )
    with _only_run_of_host(), StopRequest() as stop:
        (folder / "plan.json").write_text(json.dumps(asdict(plan)), encoding="utf-8")
        lines = [f"{address} {port}" for address, port in zip(addresses, ports, strict=True)]
        (folder / "hosts.txt").write_text("\n".join(lines) + "\n")
        children = _Children(plan, folder)
        try:
            _watch(hosts, children, stop)
            hosts.part(patiently=True)
            return children.peaks_mb
        except BaseException as error:
            hosts.report(str(error))
            children.kill()
            hosts.part(patiently=False)
            raise


def _watch(hosts: Hosts, children: _Children, stop: StopRequest) -> None:
    """Return when all children have ended well; raise if not."""
    lost_since: float | None = None
    parent = os.getppid()
    while True:
        hosts.beat()
        if hosts.number > 1 and os.getppid() != parent:
            raise HostLostError(f"torchrun on {hosts.names[hosts.host]} has ended")
        if stop.signal_number is not None:
            raise Interrupted(
                f"{hosts.names[hosts.host]} was stopped by signal {stop.signal_number}; the last complete epoch is "
                "saved\n  Resume with the same command and --resume RUN in place of --out.",
                stop.signal_number,
            )
        children.measure()
        cause, secondary = children.failure()
        if cause:
            lost_since = lost_since or time.monotonic()
            # A process that lost others is not the cause. The host of the cause says who it was.
            if not secondary or time.monotonic() - lost_since > FIRST_CAUSE_SECONDS:
                raise HostLostError(f"{cause[0]} on {hosts.names[hosts.host]} {cause[1]}")
        elif children.all_done():
            return
        time.sleep(POLL_SECONDS)


class _Children:
    """Server and trainers of this host."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.peaks_mb: dict[str, float] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        shared = {
            "DGL_DIST_MODE": "distributed",
            "DGL_IP_CONFIG": str(folder / "hosts.txt"),
            "DGL_NUM_SERVER": "1",
            "DGL_NUM_SAMPLER": "0",
            "DGL_NUM_CLIENT": str(plan.number),
            "DGL_CONF_PATH": str(Path(plan.partitions) / DGL_LAYOUT),
            "DGL_GRAPH_FORMAT": "csc",
        }
        interface = interface_of(plan.addresses[plan.host])
        if interface:
            shared = {"GLOO_SOCKET_IFNAME": interface, **shared}
        self._start("server", {**shared, "DGL_ROLE": "server", "DGL_SERVER_ID": str(plan.host)})
        for trainer in range(plan.trainers):
            self._start(f"trainer {trainer}", {**shared, "DGL_ROLE": "client"})

    def _start(self, name: str, variables: Mapping[str, str]) -> None:
        package = str(Path(__file__).parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", "spike_dgl.partitions.worker", str(self.folder), name],
            env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
        )

    def measure(self) -> None:
        """Update the peak resident memory of each child, in MB."""
        for name, process in self._processes.items():
            with suppress(OSError, KeyError):  # it may have ended
                self.peaks_mb[name] = peak_of(process.pid)

    def failure(self) -> tuple[tuple[str, str] | None, bool]:
        """Return a failed child and how it ended, and whether it only lost its connection to others."""
        failed = {name: code for name, process in self._processes.items() if (code := process.poll())}
        firsts = {name: code for name, code in failed.items() if not _lost_others(code)}
        for name, code in (firsts or failed).items():
            return (self._title(name), self._how(name, code)), not firsts
        if self._processes["server"].poll() == 0 and not self._trainers_done():
            return ("the server", "ended before the trainers"), True
        return None, False

    def _title(self, name: str) -> str:
        if name == "server":
            return "the server"
        return f"{name} (rank {self.plan.host * self.plan.trainers + int(name.split()[1])})"

    def _how(self, name: str, code: int) -> str:
        said = self.folder / f"{name}.error"
        if said.is_file():
            return f"failed: {said.read_text(encoding='utf-8')}"
        if code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name}); out of memory?"
        return f"ended with exit code {code}; see its output"

    def _trainers_done(self) -> bool:
        return all(process.poll() == 0 for name, process in self._processes.items() if name != "server")

    def all_done(self) -> bool:
        """Return whether all have ended without error; a server ends when the trainers say so."""
        return all(process.poll() == 0 for process in self._processes.values())

    def kill(self) -> None:
        """Kill all children."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()


def peak_of(process: int) -> float:
    """Return the peak resident memory of a process in MB, with the shared memory that it has touched."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmHWM"].split()[0]) / 1024


def _lost_others(code: int) -> bool:
    return code in (LOST_OTHERS, -signal.SIGABRT)


@contextmanager
def _only_run_of_host() -> Iterator[None]:
    """Lock this host against other runs, and remove shared memory that killed servers leave behind."""
    if not SHARED_MEMORY.is_dir():
        raise SpikeError(f"{SHARED_MEMORY} is missing\n  Training on partitions needs Linux.")
    folder = SHARED_MEMORY / "spike_dgl"
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # another user made it, for all
        folder.chmod(0o777)
    lock = FolderLock(folder)
    before = set(SHARED_MEMORY.iterdir())
    try:
        yield
    finally:
        for left in set(SHARED_MEMORY.iterdir()) - before:
            if left.is_file() and left.name.startswith((GRAPH, "node~", "edge~")):
                left.unlink(missing_ok=True)
        lock.release()
