"""Settings of the encoders that are not fitted on the texts."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT, Mapped
from spike_dgl.profiles.llm.addresses import check_address
from spike_dgl.profiles.llm.client import ClientOptions, check_variable
from spike_dgl.profiles.llm.requests import check_extra_body

SECTION = "profiles.openai"


@dataclass(frozen=True, config=STRICT)
class EncoderConnection(ClientOptions):
    """Connection of an encoder, whose settings have other names."""

    section: ClassVar[str] = SECTION


@dataclass(frozen=True, config=STRICT)
class OpenAIEncoderOptions:
    """An embedding model behind OpenAI's protocol: OpenAI itself, vLLM, Ollama, llama.cpp and others.

    Parameters
    ----------
    model
        Name of the model, as the server knows it.
    dimensions
        Dimension d_t to ask for, of models that can shorten their vectors; None takes the model's own.
    encoding_format
        How vectors are sent: ``base64`` takes a quarter of the bytes; None leaves it to the server, which every server
        can.
    extra_body
        Further parameters that the server knows, such as ``{input_type: passage}``.
    base_url
        Of the server, such as ``http://localhost:11434/v1``. None takes the environment variable OPENAI_BASE_URL,
        or else OpenAI.
    api_key_variable
        Environment variable that holds the key. A server on this machine or in a private network needs none; null for
        another one that needs none.
    api_version
        Azure's, such as ``2024-10-21``, for addresses that end with ``/openai``; null for all other servers.
    batch_size
        Texts a request; halved where the server takes fewer. What was paid for is kept after each.
    timeout
        Seconds until an attempt counts as failed.
    max_retries
        Attempts after the first when the server is busy, in trouble or not reached.
    """

    model: str = Field(default="text-embedding-3-small", min_length=1)
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None
    extra_body: Mapped | None = None
    base_url: str | None = None
    api_key_variable: str | None = Field(default="OPENAI_API_KEY", min_length=1)
    api_version: str | None = Field(default=None, min_length=1)
    batch_size: int = Field(default=256, ge=1, le=2048)
    timeout: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        return None if value is None else check_address(f"{SECTION}.base_url", value)

    @field_validator("api_key_variable")
    @classmethod
    def _name_of_a_variable(cls, value: str | None) -> str | None:
        return check_variable(f"{SECTION}.api_key_variable", value)

    @field_validator("extra_body")
    @classmethod
    def _nothing_of_ours(cls, value: Mapped | None) -> Mapped | None:
        return check_extra_body(f"{SECTION}.extra_body", value)

    @property
    def client(self) -> ClientOptions:
        """The connection they describe."""
        return EncoderConnection(
            base_url=self.base_url,
            api_key_variable=self.api_key_variable,
            api_version=self.api_version,
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
