"""Prometheus metrics of a server."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from spike_dgl.serve.deployment import Deployment

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bucket bounds of the latency histogram: lists take about 1 ms, explanations 0.1 s and more."""
METHODS = ("GET", "HEAD", "OPTIONS", "POST")
OTHER = "other"
"""Label for unknown paths and methods, so that clients cannot create any number of time series."""


class Metrics:
    """Metrics of finished requests, and of the run and the queue at the time of the request for metrics.

    Parameters
    ----------
    deployment
        Deployment to describe.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Served(deployment))
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time from the request to the end of its response; _count is the number of requests.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.in_progress = Gauge(
            "http_requests_in_progress", "Number of requests in progress.", registry=self._registry
        )

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        method = method if method in METHODS else OTHER
        self._seconds.labels(method, route, str(status)).observe(seconds)

    def answer(self, accept: str | None) -> Response:
        """Return all metrics in a format that the client accepts."""
        encode, content_type = choose_encoder(accept or "")
        return Response(encode(self._registry), headers={"Content-Type": content_type})


class _Served(Collector):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def collect(self) -> Iterator[Metric]:
        """Yield metrics of the served run, its queue, and the reloads so far."""
        service, run = self._deployment.service, self._deployment.service.describe()
        about = {"run": run.name, "model": run.model, "data": run.data}
        yield InfoMetricFamily(
            "spike_dgl_run",
            "The run that is served.",
            {**about, "trained": run.trained, "checksum": run.checksum, "version": run.version},
        )
        if service.trained is not None:
            yield GaugeMetricFamily(
                "spike_dgl_run_trained_timestamp_seconds",
                "Time when training ended.",
                service.trained.timestamp(),
            )
        yield GaugeMetricFamily(
            "spike_dgl_slow_calls",
            "Number of explanations and cold-start lists that are queued or being computed.",
            service.worker.queued,
        )
        yield GaugeMetricFamily(
            "spike_dgl_ready",
            "1 if the server is ready for requests, otherwise 0.",
            float(self._deployment.state == "ready"),
        )
        reloads = CounterMetricFamily("spike_dgl_reloads", "Number of reloads.", labels=["outcome"])
        for outcome, number in self._deployment.reloads.items():
            reloads.add_metric([outcome], number)
        yield reloads
