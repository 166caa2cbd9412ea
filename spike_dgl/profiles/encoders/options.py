"""Settings of the encoders that are not fitted on the texts."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.profiles.llm.client import ClientOptions, check_address


@dataclass(frozen=True, config=STRICT)
class OpenAIEncoderOptions:
    """An embedding model behind OpenAI's protocol: OpenAI itself, vLLM, Ollama, llama.cpp and others.

    Parameters
    ----------
    model
        Name of the model, as the server knows it.
    dimensions
        Dimension d_t to ask for, of models that can shorten their vectors; None takes the model's own.
    base_url
        Of the server, such as ``http://localhost:11434/v1``. None takes the environment variable OPENAI_BASE_URL,
        or else OpenAI.
    api_key_variable
        Environment variable that holds the key. A local server needs none.
    batch_size
        Texts a request. What was paid for is kept after each.
    timeout
        Seconds until an attempt counts as failed.
    max_retries
        Attempts after the first when the server is busy, in trouble or not reached.
    """

    model: str = Field(default="text-embedding-3-small", min_length=1)
    dimensions: int | None = Field(default=None, ge=1)
    base_url: str | None = None
    api_key_variable: str = Field(default="OPENAI_API_KEY", min_length=1)
    batch_size: int = Field(default=256, ge=1, le=2048)
    timeout: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        return check_address("profiles.openai.base_url", value)

    @property
    def client(self) -> ClientOptions:
        """The connection they describe."""
        return ClientOptions(
            base_url=self.base_url,
            api_key_variable=self.api_key_variable,
            timeout=self.timeout,
            max_retries=self.max_retries,
        )


@dataclass(frozen=True, config=STRICT)
class SentenceTransformersOptions:
    """A model that the package sentence-transformers runs on this machine.

    Parameters
    ----------
    model
        A model's name on the Hugging Face hub, or a local folder that holds one.
    dimensions
        Dimension d_t to cut vectors to, of models trained for it; None takes the model's own.
    batch_size
        Texts at a time. What was computed is kept after each.
    device
        ``cpu``, ``cuda`` ...; None lets the package choose.
    """

    model: str = Field(default="sentence-transformers/all-MiniLM-L6-v2", min_length=1)
    dimensions: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    device: str | None = Field(default=None, min_length=1)
