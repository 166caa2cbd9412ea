"""Throughput and latency of a server under concurrent requests: python -m benchmarks.serve_load --help."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click
import numpy as np

from benchmarks.live_server import serving
from spike_dgl.recommend import Recommender


@dataclass(frozen=True)
class Question:
    """HTTP request: path with query, and the JSON body of a POST."""

    path: str
    body: Any = None


@dataclass(frozen=True)
class Load:
    """Result of concurrent requests: seconds of each, elapsed seconds, and number of rejected requests."""

    seconds: np.ndarray
    elapsed: float
    refused: int

    def row(self, name: str, clients: int) -> str:
        """Render a line of the Markdown table."""
        median, late, latest = 1000 * np.percentile(self.seconds, [50, 99, 100])
        return (
            f"| {name} | {clients} | {len(self.seconds):,} | {len(self.seconds) / self.elapsed:,.0f} | "
            f"{median:.1f} | {late:.1f} | {latest:.1f} | {self.refused} |"
        )


def questions(recommender: Recommender) -> dict[str, list[Question]]:
    """Return different requests of each kind, to be sent one after the other."""
    random = np.random.default_rng(0)
    users = [recommender.users.ids[row] for row in random.permutation(len(recommender.users))[:200]]
    items = [recommender.items.ids[row] for row in random.permutation(len(recommender.items))[:200]]
    return {
        "health": [Question("/health")],
        "a user's top 10": [Question(f"/api/recommendations?user={quote(user, safe='')}") for user in users],
        "100 users' top 10": [Question("/api/recommendations", {"users": users[:100]})],
        "10 similar items": [Question(f"/api/similar-items?item={quote(item, safe='')}") for item in items],
        "new user, 5 liked items": [
            Question("/api/recommendations/from-items", {"items": items[start : start + 5]})
            for start in range(len(items) - 4)
        ],
        "explanation": [
            Question(f"/api/explanations?user={quote(user, safe='')}&item={quote(item, safe='')}")
            for user, item in zip(users, items, strict=False)
        ],
    }


def ask_at_once(address: str, requests: Sequence[Question], clients: int, seconds: float) -> Load:
    """Send requests from several clients, each with one connection and without pause between requests.

    A client whose request is rejected because the queue is full waits for the time in Retry-After.
    """
    started = time.perf_counter()

    def client(number: int) -> tuple[list[float], int]:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
        taken: list[float] = []
        refused, place = 0, number
        while time.perf_counter() < started + seconds or not taken:
            request, sent_at = requests[place % len(requests)], time.perf_counter()
            response = _send(connection, request)
            if response.status == http.client.SERVICE_UNAVAILABLE:
                refused += 1
                time.sleep(float(response.headers["Retry-After"]))
                continue
            if response.status != http.client.OK:
                raise RuntimeError(f"{request}: status {response.status}")
            taken.append(time.perf_counter() - sent_at)
            place += clients
        connection.close()
        return taken, refused

    with ThreadPoolExecutor(clients) as threads:
        results = list(threads.map(client, range(clients)))
    elapsed = time.perf_counter() - started
    return Load(
        np.array([second for taken, _ in results for second in taken]),
        elapsed,
        sum(refused for _, refused in results),
    )


def _send(connection: http.client.HTTPConnection, request: Question) -> http.client.HTTPResponse:
    if request.body is None:
        connection.request("GET", request.path)
    else:
        body = json.dumps(request.body)
        connection.request("POST", request.path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--clients", "numbers", multiple=True, default=(1, 8, 32), show_default=True, help="Numbers of clients."
)
@click.option("--seconds", default=3.0, show_default=True, help="Duration of each measurement.")
def main(run: Path, numbers: tuple[int, ...], seconds: float) -> None:
    """Serve RUN on this machine, send requests from 1, 8 and 32 clients, and print a table.

    Clients and server share the machine, so the throughput of a dedicated server is higher.
    """
    with serving(run) as (address, _):
        kinds = questions(Recommender.load(run))
        for of_kind in kinds.values():  # until the model is loaded
            ask_at_once(address, of_kind, clients=1, seconds=0)
        click.echo(
            "| request | clients | answers | per second | median, ms | 99 % within, ms | longest, ms | rejected |"
        )
        click.echo("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name, of_kind in kinds.items():
            for clients in numbers:
                click.echo(ask_at_once(address, of_kind, clients, seconds).row(name, clients))


if __name__ == "__main__":
    main()
