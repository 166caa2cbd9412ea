"""Limits of requests, so that every response takes at most a few megabytes and a few seconds."""

from __future__ import annotations

BODY_BYTES = 256 * 1024
BODY_SECONDS = 10.0
ID_LENGTH = 300
TEXT_LENGTH = 2_000
USERS = 100
LIKED_ITEMS = 200
CANDIDATES = 1_000
LIST_LENGTH = 500
MATCHES = 100
PATHS = 20
CONNECTIONS = 512
"""Maximum number of open connections, including idle ones; more get status 503."""
REQUESTS = 256
"""Maximum number of API requests in progress. It is below `CONNECTIONS`, so that probes are still answered."""
RETRY_SECONDS = 2
IDLE_SECONDS = 75
"""Keep-alive time. Longer than that of proxies (60 s), which would otherwise send requests to closed connections."""
WAITING_CALLS = 16
"""Capacity of the queue of slow calls, such as explanations; more get status 503."""
