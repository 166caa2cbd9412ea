"""Benchmark of `complete`: requests per second, compared with the capacity of the local server.

``python -m tests.profiles.throughput`` runs the server as a process of its own. It sends the same requests through
`complete` (openai's client, checks, store) and through bare sockets that only wait for each answer.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from spike_dgl.profiles.llm.client import ClientOptions, body
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.requests import CompletionOptions, Request
from spike_dgl.profiles.llm.store import Store


def prompts(number: int) -> list[Request]:
    """Create requests of a typical size: 3,000 characters each."""
    text = "A sentence about a film and its cast. " * 75
    return [
        Request("item", str(n), "You write profiles.", f"{n}: {text}", 150, CompletionOptions())
        for n in range(number)
    ]


async def ask_bare(base_url: str, bodies: list[bytes], connections: int) -> None:
    """Send bodies over keep-alive connections and read the answers without parsing them."""
    host, port = base_url.removeprefix("http://").removesuffix("/v1").split(":")
    left = list(bodies)

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while left:
            content = left.pop()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert answer.startswith("HTTP/1.1 200")
            length = next(line for line in answer.split("\r\n") if line.startswith("content-length"))
            await reader.readexactly(int(length.split(":")[1]))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(work() for _ in range(connections)))


def rates(base_url: str, number: int, concurrency: int) -> tuple[float, float]:
    """Return requests per second through `complete`, and through bare sockets."""
    requests, client = prompts(number), ClientOptions(base_url=base_url, concurrency=concurrency)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "profiles.sqlite") as store:
        started = time.perf_counter()
        assert complete(requests, store, client).is_complete
        ours = number / (time.perf_counter() - started)
    bodies = [json.dumps(body(request, client)).encode() for request in requests]
    started = time.perf_counter()
    asyncio.run(ask_bare(base_url, bodies, concurrency))
    return ours, number / (time.perf_counter() - started)


@click.command()
@click.option("--requests", "number", default=2000, show_default=True)
@click.option("--concurrency", default=32, show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(number: int, concurrency: int, repeats: int) -> None:
    """Print the median of several repeats."""
    command = [sys.executable, "-m", "tests.profiles.openai_server", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        rates(base_url, 100, concurrency)  # warm-up: imports, and the server's first connections
        ours, bare = zip(*(rates(base_url, number, concurrency) for _ in range(repeats)), strict=True)
        server.terminate()
    click.echo(
        f"{number} requests of 3 kB, {concurrency} at a time: {statistics.median(ours):.0f} a second through complete, "
        f"{statistics.median(bare):.0f} through bare sockets"
    )


if __name__ == "__main__":
    main()
