"""How many questions a server answers, and how fast, when many ask at once: python -m benchmarks.serve_load --help."""

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
    """A request: a path and query, and the JSON body of a POST."""

    path: str
    body: Any = None


@dataclass(frozen=True)
class Load:
    """What came of some questions that clients asked at once: seconds for each answer, and for all together."""

    seconds: np.ndarray
    elapsed: float
    refused: int

    def row(self, name: str, clients: int) -> str:
        """A line of a Markdown table."""
        median, late, latest = 1000 * np.percentile(self.seconds, [50, 99, 100])
        return (
            f"| {name} | {clients} | {len(self.seconds):,} | {len(self.seconds) / self.elapsed:,.0f} | "
            f"{median:.1f} | {late:.1f} | {latest:.1f} | {self.refused} |"
        )


def questions(recommender: Recommender) -> dict[str, list[Question]]:
    """For each kind of question a list of different ones, to be asked in turn."""
    random = np.random.default_rng(0)
    users = [recommender.users.ids[row] for row in random.permutation(len(recommender.users))[:200]]
    items = [recommender.items.ids[row] for row in random.permutation(len(recommender.items))[:200]]
    return {
        "health": [Question("/health")],
        "a user's 10 best": [Question(f"/api/recommendations?user={quote(user, safe='')}") for user in users],
        "100 users' 10 best": [Question("/api/recommendations", {"users": users[:100]})],
        "10 similar items": [Question(f"/api/similar-items?item={quote(item, safe='')}") for item in items],
        "someone new, 5 liked items": [
            Question("/api/recommendations/from-items", {"items": items[start : start + 5]})
            for start in range(len(items) - 4)
        ],
        "an explanation": [
            Question(f"/api/explanations?user={quote(user, safe='')}&item={quote(item, safe='')}")
            for user, item in zip(users, items, strict=False)
        ],
    }


def ask_at_once(address: str, asked: Sequence[Question], clients: int, seconds: float) -> Load:
    """Clients that each keep a connection and ask the next question as soon as the last one is answered.

    One that is turned away for others that wait comes back after the time that the server names.
    """
    started = time.perf_counter()

    def client(number: int) -> tuple[list[float], int]:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
        taken: list[float] = []
        refused, place = 0, number
        while time.perf_counter() < started + seconds or not taken:
            asked_at = time.perf_counter()
            answer = _ask(connection, asked[place % len(asked)])
            if answer.status == http.client.SERVICE_UNAVAILABLE:
                refused += 1
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.status != http.client.OK:
                raise RuntimeError(f"{asked[place % len(asked)]}: status {answer.status}")
            taken.append(time.perf_counter() - asked_at)
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


def _ask(connection: http.client.HTTPConnection, question: Question) -> http.client.HTTPResponse:
    if question.body is None:
        connection.request("GET", question.path)
    else:
        body = json.dumps(question.body)
        connection.request("POST", question.path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--clients", "numbers", multiple=True, default=(1, 8, 32), show_default=True, help="At once.")
@click.option("--seconds", default=3.0, show_default=True, help="For each line.")
def main(run: Path, numbers: tuple[int, ...], seconds: float) -> None:
    """Serve RUN on this machine, let 1, 8 and 32 clients ask without a pause, and print a table.

    Clients and server share the machine, so a server with the cores for itself answers more.
    """
    with serving(run) as (address, _):
        every = questions(Recommender.load(run))
        for asked in every.values():  # waits until the model is open
            ask_at_once(address, asked, clients=1, seconds=0)
        click.echo(
            "| question | clients | answers | a second | median, ms | 99 % within, ms | longest, ms | refused |"
        )
        click.echo("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name, asked in every.items():
            for clients in numbers:
                click.echo(ask_at_once(address, asked, clients, seconds).row(name, clients))


if __name__ == "__main__":
    main()
