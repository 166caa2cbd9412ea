"""Local server with OpenAI's API that counts requests and answers, and fails on request.

It serves chat completions, embeddings, models, files and batches over HTTP/1.1 with keep-alive, from a thread
of its own::

    with OpenAIServer() as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="any")

Requests with the same body are the same request: `Call.identity` is a hash of the body. `server.answered` counts the
successful answers to each, which a real server would charge. `server.reply` chooses the reply to each call::

    server.reply = lambda call: rate_limited(seconds=1) if call.attempt == 1 else None
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import hashlib
import json
import re
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
JUNK = b'{"id": "chatcmpl-1", "choices": [{"mess'
TLS = b"\x16"
"""First byte sent by a client that expects https."""
PLACE = re.compile(r"^(?:http://[^/]+)?(?:/v1)?")


@dataclass(frozen=True)
class Call:
    """HTTP request: path without ``/v1``, JSON body, number of requests with that body so far, headers and query."""

    path: str
    body: Json
    identity: str
    attempt: int
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""


@dataclass(frozen=True)
class Reply:
    """Reply of the server instead of a normal answer.

    Parameters
    ----------
    status, headers, body
        Parts of the response; without a body, an answer with `choice`.
    choice
        Overrides of the answer's ``choices[0]``, such as ``{"finish_reason": "length"}``.
    delay
        Seconds before the reply.
    drop
        Close the connection without a reply, before or after an answer is counted.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Json | bytes | None = None
    choice: Json = field(default_factory=dict)
    delay: float = 0.0
    drop: Literal["", "before the answer", "after the answer"] = ""


def error(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """Create an error in OpenAI's format."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, names, {"error": {"message": message, "code": code, "type": "error", "param": None}})


def rate_limited(seconds: float) -> Reply:
    """Create a 429 with Retry-After."""
    return error(429, "Rate limit reached", "rate_limit_exceeded", retry_after=f"{seconds:g}")


def quota_exhausted() -> Reply:
    """Create a 429 that waiting does not fix."""
    return error(429, "You exceeded your current quota, please check your plan.", "insufficient_quota")


def server_error() -> Reply:
    """Create a 500."""
    return error(500, "The server had an error")


def dropped() -> Reply:
    """Drop the connection before an answer is counted."""
    return Reply(drop="before the answer")


def slow(seconds: float) -> Reply:
    """Delay a normal answer."""
    return Reply(delay=seconds)


def junk() -> Reply:
    """Create a 200 with half a JSON document."""
    return Reply(body=JUNK)


def says(content: str | None, finish_reason: str = "stop", refusal: str | None = None) -> Reply:
    """Create an answer with a content."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return Reply(choice={"message": message, "finish_reason": finish_reason})


class OpenAIServer:
    """The server; listens inside the context.

    Parameters
    ----------
    api_key
        Key that the server accepts; None for any.
    models
        Names of models; None for any.
    port
        Port to listen on; 0 for a free one.

    Attributes
    ----------
    reply
        Function that returns the reply to each chat or embedding call and each line of a batch; None for a normal
        answer.
    answer
        Function that returns the text of a normal answer to a chat body.
    calls
        Number of requests by path, without lines of batches.
    answered
        Number of successful chat and embedding answers by identity, single or in a batch.
    keys
        Authorization headers seen.
    targets
        Request targets; whole URLs if this server is used as a proxy.
    most_at_once
        Maximum number of concurrent chat and embedding calls.
    arrivals
        `time.monotonic` of each chat and embedding call.
    batch_polls
        Number of status requests before a batch ends.
    lose_next
        Paths of files or batches whose next request is processed, but its response lost.
    batch_end
        Final status of batches. An expired batch has answered its first half, a failed batch nothing.
    """

    def __init__(self, api_key: str | None = None, models: set[str] | None = None, port: int = 0) -> None:
        self.api_key, self.models, self.port = api_key, models, port
        self.reply: Callable[[Call], Reply | None] = lambda call: None
        self.answer: Callable[[Json], str] = default_answer
        self.calls: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.targets: list[str] = []
        self.arrivals: list[float] = []
        self.open_calls = self.most_at_once = 0
        self.files: dict[str, Json] = {}
        self.contents: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self.batch_polls = 1
        self.batch_end: Literal["completed", "expired", "failed", "cancelled"] = "completed"
        self.lose_next: set[str] = set()
        self._polls: Counter[str] = Counter()
        self._started = threading.Event()

    @property
    def base_url(self) -> str:
        """Base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> OpenAIServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has disconnected, or the server stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read and answer a request; return False if the connection is to be closed."""
        first = await reader.readexactly(1)
        if first == TLS:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        self.keys.add(headers.get("authorization", ""))
        self.targets.append(target)
        reply = await self._respond(method, PLACE.sub("", target), headers, content)
        if reply.drop:
            return False
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        lines = [
            f"HTTP/1.1 {reply.status} -",
            "content-type: application/json",
            f"content-length: {len(body)}",
        ]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return True

    async def _respond(self, method: str, target: str, headers: dict[str, str], content: bytes) -> Reply:
        path, _, query = target.partition("?")
        self.calls[path] += 1
        if self.api_key is not None and headers.get("authorization") != f"Bearer {self.api_key}":
            given = headers.get("authorization", "").removeprefix("Bearer ")
            return error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if path.endswith(("/chat/completions", "/embeddings")):
            self.arrivals.append(time.monotonic())
            self.open_calls += 1
            self.most_at_once = max(self.most_at_once, self.open_calls)
            try:
                reply = self._complete(path, json.loads(content), headers, query)
                await asyncio.sleep(reply.delay)
                return reply
            finally:
                self.open_calls -= 1
        reply = self._store(method, path, headers, content)
        if path in self.lose_next:
            self.lose_next.remove(path)
            return Reply(drop="after the answer")
        return reply

    def _complete(self, path: str, body: Json, headers: dict[str, str], query: str = "") -> Reply:
        """Return the reply to a chat or embedding body, and count successful answers."""
        identity = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.seen[identity] += 1
        if self.models is not None and body["model"] not in self.models:
            return error(404, f"The model `{body['model']}` does not exist", "model_not_found")
        reply = self.reply(Call(path, body, identity, self.seen[identity], headers, query)) or Reply()
        if reply.body is not None or reply.drop == "before the answer":
            return reply
        is_chat = path.endswith("/chat/completions")
        answer = self._chat(body, reply.choice) if is_chat else _embeddings(body)
        if not reply.choice:
            self.answered[identity] += 1
        return Reply(reply.status, reply.headers, answer, delay=reply.delay, drop=reply.drop)

    def _chat(self, body: Json, choice: Json) -> Json:
        message = {"role": "assistant", "content": self.answer(body), "refusal": None}
        full = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None, **choice}
        sent = sum(len(part["content"]) for part in body["messages"]) // 4
        written = len((full["message"]["content"] or "").split()) * 4 // 3
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [full],
            "usage": _usage(sent, written),
        }

    def _store(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Reply:
        """Answer requests for files, batches and the list of models."""
        parts = path.strip("/").split("/")
        known: dict[str, Json] = {"files": self.files, "batches": self.batches}.get(parts[0], {})
        if len(parts) > 1 and parts[1] not in known:
            return error(404, f"No such object: {parts[1]}")
        if parts == ["models"]:
            return _listing([{"id": name, "object": "model"} for name in sorted(self.models or ())])
        if method == "POST" and parts == ["files"]:
            return self._upload(_multipart(headers["content-type"], content))
        if method == "POST" and parts == ["batches"]:
            return self._new_batch(json.loads(content))
        if method == "POST" and parts[2:] == ["cancel"]:
            self.batches[parts[1]]["status"] = "cancelled"
            return Reply(body=self.batches[parts[1]])
        if parts[2:] == ["content"]:
            return Reply(body=self.contents[parts[1]])
        if len(parts) == 2:
            return Reply(body=self._polled(parts[1]) if parts[0] == "batches" else known[parts[1]])
        if parts[0] in ("files", "batches"):
            return _listing(list(reversed(known.values())))
        return error(404, f"Unknown request URL: {method} {path}")

    def _upload(self, form: dict[str, bytes]) -> Reply:
        return Reply(body=self._new_file(form["file"], form["purpose"].decode()))

    def _new_file(self, content: bytes, purpose: str) -> Json:
        name = f"file-{len(self.files) + 1}"
        self.contents[name] = content
        self.files[name] = {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": f"{name}.jsonl",
            "purpose": purpose,
            "status": "processed",
        }
        return self.files[name]

    def _new_batch(self, body: Json) -> Reply:
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "created_at": int(time.time()),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            **body,
        }
        return Reply(body=self.batches[name])

    def _polled(self, name: str) -> Json:
        batch = self.batches[name]
        self._polls[name] += 1
        if batch["status"] in ("validating", "in_progress"):
            if self._polls[name] >= self.batch_polls:
                self._finish(batch)
            else:
                batch["status"] = "in_progress"
        return batch

    def _finish(self, batch: Json) -> None:
        batch["status"] = self.batch_end
        lines = [json.loads(line) for line in self.contents[batch["input_file_id"]].splitlines()]
        if self.batch_end == "failed":
            failure = {
                "code": "token_limit_exceeded",
                "message": "Enqueued token limit reached",
                "line": None,
            }
            batch["errors"] = {"object": "list", "data": [failure]}
            return
        done = len(lines) if self.batch_end == "completed" else len(lines) // 2
        outputs = [self._batch_line(line) for line in lines[:done]]
        outputs += [_unanswered(line) for line in lines[done:]]
        good = [line for line in outputs if line["error"] is None and line["response"]["status_code"] == 200]
        bad = [line for line in outputs if line not in good]
        batch["output_file_id"] = self._new_file(_jsonl(good), "batch_output")["id"] if good else None
        batch["error_file_id"] = self._new_file(_jsonl(bad), "batch_output")["id"] if bad else None
        batch["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(bad)}

    def _batch_line(self, line: Json) -> Json:
        reply = self._complete(line["url"].removeprefix("/v1"), line["body"], {})
        body = json.loads(reply.body) if isinstance(reply.body, bytes) else reply.body
        response = {"status_code": reply.status, "request_id": "req_1", "body": body}
        return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": None}


def default_answer(body: Json) -> str:
    """Return a short text that differs between prompts, and names its subject."""
    digest = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:12]
    return f"{subject(body)} is number {digest} of what is worth knowing."


def subject(body: Json) -> str:
    """Return the first piece of data in a prompt: a title or name, or the first item of a user."""
    prompt = str(body["messages"][-1]["content"])
    told = re.search(r"^<\w+>\n(?:- )?(.{1,60})", prompt, re.MULTILINE)
    return told[1] if told else "It"


def embedding(text: str, dimensions: int) -> list[float]:
    """Return a vector that depends only on the text."""
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[place % len(digest)] / 127.5 - 1 for place in range(dimensions)]


def _embeddings(body: Json) -> Json:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [embedding(text, body.get("dimensions") or 8) for text in texts]
    coded: list[Any] = vectors
    if body.get("encoding_format") == "base64":
        coded = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    data = [
        {"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(coded)
    ]
    used = sum(len(text) for text in texts) // 4
    return {"object": "list", "model": body["model"], "data": data, "usage": _usage(used, 0)}


def _usage(sent: int, written: int) -> Json:
    return {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written}


def _listing(data: list[Json]) -> Reply:
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return Reply(body={"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last})


def _unanswered(line: Json) -> Json:
    error = {"code": "batch_expired", "message": "This request could not be executed in time."}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": None, "error": error}


def _jsonl(lines: list[Json]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _multipart(content_type: str, content: bytes) -> dict[str, bytes]:
    message = email.message_from_bytes(f"content-type: {content_type}\r\n\r\n".encode() + content)
    form = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        form[str(name)] = part.get_payload(decode=True).removesuffix(b"\r\n")
    return form


def main() -> None:
    """Serve until interrupted: ``python -m tests.profiles.openai_server [PORT]``."""
    import sys

    with OpenAIServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as server:
        print(server.base_url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
