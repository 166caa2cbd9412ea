"""How much one request may ask for: the answer to any of them fits a few megabytes and a few seconds."""

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
"""Open at once, idle ones too; more are turned away with status 503."""
REQUESTS = 256
"""Below `CONNECTIONS`, so that probes are answered, and the server is not restarted, while clients are turned away."""
RETRY_SECONDS = 2
IDLE_SECONDS = 75
"""Longer than proxies keep idle connections (60 s), or they would send requests into closed ones."""
WAITING_CALLS = 16
"""Slow calls, such as explanations, that may wait for their turn; more are turned away with status 503."""
