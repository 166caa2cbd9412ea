"""Embeddings from a server that speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.encoders.encoder import unit_length
from spike_dgl.profiles.encoders.options import OpenAIEncoderOptions
from spike_dgl.profiles.llm.answers import Failure
from spike_dgl.profiles.llm.client import OPENAI, connect, understand
from spike_dgl.profiles.llm.completion import run_to_end
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.prices import PriceTable
from spike_dgl.typing import FloatArray

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse


class OpenAIEncoder:
    """An embedding model behind OpenAI's protocol; a call of `encode` is one request.

    Parameters
    ----------
    options
        Model, server, and how patient to be.
    """

    def __init__(self, options: OpenAIEncoderOptions) -> None:
        self.options, self.client = options, options.client
        self.batch_size = options.batch_size
        self.tokens = 0
        """Tokens that the server has counted so far: what it charges for."""

    @property
    def name(self) -> str:
        """``openai/MODEL``, with the dimension where one is asked for and the server where it is not OpenAI."""
        shortened = f"/{self.options.dimensions}" if self.options.dimensions else ""
        elsewhere = f"@{self.client.address}" if self.client.address != OPENAI else ""
        return f"openai/{self.options.model}{shortened}{elsewhere}"

    def cost(self, prices: PriceTable) -> float | None:
        """US dollars for the tokens so far; None where the price is unknown."""
        price = prices.price(self.options.model, self.client.is_local)
        return None if price is None else price.cost(self.tokens, 0)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Vectors [n, d_t] of unit length; zeros for an empty text, which is not sent.

        Raises
        ------
        LanguageModelError
            For a refused key, an unknown model, an exhausted account, vectors that do not fit the texts, or a server
            that still fails after all retries.
        ConfigError
            If there is no key and the server is not local.
        """
        rows = [row for row, text in enumerate(texts) if text]
        if not rows:
            return np.zeros((len(texts), self.options.dimensions or 1), np.float32)
        answered = self._checked(run_to_end(self._request([texts[row] for row in rows])), len(rows))
        vectors = np.zeros((len(texts), answered.shape[1]), np.float32)
        vectors[rows] = unit_length(answered)
        return vectors

    async def _request(self, texts: list[str]) -> CreateEmbeddingResponse:
        wished: dict[str, Any] = {"dimensions": self.options.dimensions} if self.options.dimensions else {}
        async with connect(self.client, Pace(None)) as server:
            try:
                return await server.embeddings.create(input=texts, model=self.options.model, **wished)
            except ValueError as error:  # junk for JSON, or a list without any vector
                raise self._error(f"gave no list of vectors ({error})") from None
            except Exception as error:
                meaning = understand(error, self.client, self.options.model)
            if isinstance(meaning, Failure):
                remedy = "What was encoded is kept: run the same command again."
                meaning = self._error(f"{meaning.reason}: {meaning.detail}\n  {remedy}")
            raise meaning from None

    def _checked(self, response: CreateEmbeddingResponse, num_texts: int) -> FloatArray:
        """The vectors [n, d_t] of a response in the order of the texts."""
        self.tokens += response.usage.total_tokens if response.usage else 0
        rows = [entry.embedding for entry in sorted(response.data, key=lambda entry: entry.index)]
        lengths, wanted = {len(row) for row in rows}, self.options.dimensions
        if len(rows) != num_texts or len(lengths) != 1:
            raise self._error(f"gave {len(rows)} vectors for {num_texts} texts, of lengths {sorted(lengths)}")
        if wanted is not None and lengths != {wanted}:
            remedy = "The model cannot shorten them: leave out profiles.openai.dimensions."
            raise self._error(f"gave vectors of dimension {lengths.pop()}, not {wanted}\n  {remedy}")
        vectors = np.array(rows, np.float32)
        if not np.isfinite(vectors).all():
            raise self._error("gave a vector that is not finite")
        return vectors

    def _error(self, problem: str) -> LanguageModelError:
        return LanguageModelError(f"{self.options.model} at {self.client.address}: {problem}")
