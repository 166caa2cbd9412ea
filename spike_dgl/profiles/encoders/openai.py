"""Embeddings from a server with an OpenAI-compatible API."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.encoders.encoder import unit_length
from spike_dgl.profiles.encoders.options import OpenAIEncoderOptions
from spike_dgl.profiles.llm.addresses import OPENAI, without_secrets
from spike_dgl.profiles.llm.completion import run_to_end
from spike_dgl.profiles.llm.connection import connect, understand
from spike_dgl.profiles.llm.failures import Failure, shorten
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.prices import PriceTable
from spike_dgl.profiles.llm.remedies import remedy_of
from spike_dgl.profiles.llm.requests import TOKENS_PER_BYTE
from spike_dgl.typing import FloatArray

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAIEncoder:
    """An embedding model on a server. `encode` sends one request, or more if that is too large for the server.

    Parameters
    ----------
    options
        Model, server, timeout and retries.

    Attributes
    ----------
    batch_size
        Texts per request; lowered to what the server accepts.
    tokens
        Number of tokens charged so far; estimated if the server does not report them.
    cut_texts
        Number of texts so far that were truncated.
    max_tokens
        None: servers do not report the limit of a model.
    on_retry
        Called with the reason before a request is retried.
    """

    def __init__(self, options: OpenAIEncoderOptions) -> None:
        self.options, self.client = options, options.client
        self.batch_size = options.batch_size
        self.tokens = self.cut_texts = 0
        self.max_tokens: int | None = None
        self.on_retry: Callable[[str], None] | None = None

    @property
    def name(self) -> str:
        """``openai/MODEL``, with prompt, dimension, further parameters and server if they are set."""
        options = self.options
        shortened = f"/{options.dimensions}" if options.dimensions else ""
        further = json.dumps(options.extra_body, sort_keys=True) if options.extra_body else ""
        elsewhere = f"@{self.client.address}" if self.client.address != OPENAI else ""
        prompted = f"{options.prompt!r}" if options.prompt else ""
        return f"openai/{options.model}{prompted}{shortened}{further}{elsewhere}"

    def cost(self, prices: PriceTable) -> float | None:
        """Return the cost of the tokens so far in US dollars; None if the price is unknown."""
        price = prices.price(self.options.model, self.client.is_local)
        return None if price is None else price.cost(self.tokens, 0)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return vectors [n, d_t] of unit length, zeros for empty texts, which are not sent.

        A request that is too large for the server is halved, and so is a single text that is too long.

        Raises
        ------
        LanguageModelError
            If the server rejects the key or the model, has no credit left, still fails after all retries, or returns
            vectors that do not match the texts.
        ConfigError
            If there is no key and the server is not local.
        """
        rows = [row for row, text in enumerate(texts) if text]
        if not rows:
            return np.zeros((len(texts), self.options.dimensions or 1), np.float32)
        answered = run_to_end(self._encode([texts[row] for row in rows]))
        vectors = np.zeros((len(texts), answered.shape[1]), np.float32)
        vectors[rows] = unit_length(answered)
        return vectors

    async def _encode(self, texts: list[str]) -> FloatArray:
        """Return vectors [n, d_t]. Requests that are too large are halved, and the accepted size is kept."""
        found: list[FloatArray] = []
        start, size, cut_before = 0, len(texts), self.cut_texts
        async with connect(self.client, Pace(None), self.on_retry) as server:
            while start < len(texts):
                part = texts[start : start + size]
                vectors = await self._request(server, part)
                if vectors is None and len(part) > 1:
                    size = len(part) // 2
                    continue
                if vectors is None:
                    vectors = await self._request_beginning(server, part[0])
                    size = len(texts)  # perhaps only this text was too long
                found.append(vectors)
                start += len(part)
        if size < len(texts) and self.cut_texts == cut_before:
            self.batch_size = size
        if len({part.shape[1] for part in found}) > 1:
            raise self._error(f"returned vectors of dimensions {sorted({part.shape[1] for part in found})}")
        return np.concatenate(found)

    async def _request_beginning(self, server: AsyncOpenAI, text: str) -> FloatArray:
        """Return the vector [1, d_t] of the beginning of a text, halved until the server accepts it."""
        self.cut_texts += 1
        vectors = None
        while vectors is None:
            text = text[: len(text) // 2]
            vectors = await self._request(server, [text], last=len(text) < 2)
        return vectors

    async def _request(
        self, server: AsyncOpenAI, texts: list[str], *, last: bool = False
    ) -> FloatArray | None:
        """Return vectors [n, d_t] of texts; None if the request is too large, unless this is the `last` attempt."""
        sent = self._body(texts)
        try:
            response = await server.post("/embeddings", body=sent, cast_to=str)
        except Exception as error:
            meaning = understand(error, self.client, sent)
        else:
            return self._vectors(response, texts)
        if isinstance(meaning, Failure):
            is_large = meaning.reason == "prompt too long" or (meaning.reason == "invalid" and len(texts) > 1)
            if is_large and not last:
                return None
            kept = "The vectors encoded so far are stored: run the same command again."
            remedy = remedy_of(meaning, self.client) if meaning.reason == "no connection" else kept
            meaning = self._error(f"{meaning.reason}: {meaning.detail}\n  {remedy}")
        raise meaning from None

    def _body(self, texts: list[str]) -> dict[str, Any]:
        options = self.options
        optional = {"dimensions": options.dimensions, "encoding_format": options.encoding_format}
        given = {name: value for name, value in optional.items() if value is not None}
        prompted = [options.prompt + text for text in texts]
        return {"model": options.model, "input": prompted, **given, **(options.extra_body or {})}

    def _vectors(self, response: str, texts: list[str]) -> FloatArray:
        """Read the vectors of a response, in the order of the texts, and count its tokens."""
        try:
            body = json.loads(response)
            self.tokens += _tokens(body.get("usage"), texts)
            rows = [_vector(entry["embedding"]) for entry in _in_order(body["data"])]
        except (ValueError, LookupError, TypeError, AttributeError):
            shown = shorten(without_secrets(response, self.client.api_key_variable))
            raise self._error(f"returned no list of vectors: {shown}") from None
        lengths, wanted = {len(row) for row in rows}, self.options.dimensions
        if len(rows) != len(texts) or len(lengths) != 1:
            raise self._error(
                f"returned {len(rows)} vectors for {len(texts)} texts, of dimensions {sorted(lengths)}"
            )
        if wanted is not None and lengths != {wanted}:
            remedy = f"The model cannot shorten its vectors: {self.client.request_setting('dimensions')}=null"
            raise self._error(f"returned vectors of dimension {lengths.pop()}, not {wanted}\n  {remedy}")
        vectors = np.stack(rows)
        if not np.isfinite(vectors).all():
            raise self._error("returned a vector that is not finite")
        return vectors

    def _error(self, problem: str) -> LanguageModelError:
        return LanguageModelError(f"{self.options.model} at {self.client.address}: {problem}")


def _tokens(usage: Any, texts: Sequence[str]) -> int:
    """Return the number of tokens that a response reports, or else an estimate."""
    reported = usage if isinstance(usage, Mapping) else {}
    counts = (reported.get(name) for name in ("total_tokens", "prompt_tokens", "input_tokens"))
    counted = next((int(count) for count in counts if count and not isinstance(count, bool)), 0)
    return counted or math.ceil(TOKENS_PER_BYTE * sum(len(text.encode("utf-8", "replace")) for text in texts))


def _in_order(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort entries by their index, or keep their order if they have no distinct indices."""
    indices: list[Any] = [entry.get("index") for entry in entries]
    if len(set(indices)) <= 1:
        return entries
    if sorted(indices) != list(range(len(entries))):
        raise ValueError("indices do not match the texts")
    return sorted(entries, key=lambda entry: entry["index"])


def _vector(embedding: Any) -> FloatArray:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4").astype(np.float32)
    vector = np.array(embedding, np.float32)
    return vector[0] if vector.ndim == 2 and len(vector) == 1 else vector
