"""Settings of the pretrained encoders."""

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
    """Connection of an encoder: `ClientOptions` whose settings have other dotted names."""

    section: ClassVar[str] = SECTION


@dataclass(frozen=True, config=STRICT)
class OpenAIEncoderOptions:
    """An embedding model with an OpenAI-compatible API: OpenAI itself, vLLM, Ollama, llama.cpp and others.

    Parameters
    ----------
    model
        Name of the model on the server.
    prompt
        Text to put before each text, which some models expect, such as ``"passage: "`` for E5.
    dimensions
        Dimension d_t to request from models that can shorten their vectors; None for the model's own.
    encoding_format
        Encoding of the vectors in responses: ``base64`` takes a quarter of the bytes of ``float``; None sends no such
        parameter, which every server accepts.
    extra_body
        Further parameters for the server, such as ``{input_type: passage}``.
    base_url
        Base URL of the server, such as ``http://localhost:11434/v1``. None reads the environment variable
        OPENAI_BASE_URL, and uses OpenAI if it is not set.
    api_key_variable
        Environment variable with the API key. It may be unset for a server on this machine or in a private network.
        Null for other servers without a key.
    api_version
        Azure's API version, such as ``2024-10-21``, for addresses that end with ``/openai``; null for other servers.
    batch_size
        Texts per request; halved if the server accepts fewer. Vectors are stored after each request.
    timeout
        Seconds after which an attempt has failed.
    max_retries
        Maximum number of retries when the server is overloaded, fails or cannot be reached.
    """

    model: str = Field(default="text-embedding-3-small", min_length=1)
    prompt: str = ""
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
    def _check_base_url(cls, value: str | None) -> str | None:
        return None if value is None else check_address(f"{SECTION}.base_url", value)

    @field_validator("api_key_variable")
    @classmethod
    def _check_key_variable(cls, value: str | None) -> str | None:
        return check_variable(f"{SECTION}.api_key_variable", value)

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, value: Mapped | None) -> Mapped | None:
        return check_extra_body(f"{SECTION}.extra_body", value)

    @property
    def client(self) -> ClientOptions:
        """Connection settings for `connect`."""
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
        Name of a model on the Hugging Face hub, or a local model folder. Not used by ``minilm``.
    prompt
        Text to put before each text, which some models expect, such as ``"passage: "`` for E5.
    dimensions
        Dimension d_t to truncate vectors to, for models trained for it; None for the model's own.
    batch_size
        Texts per batch. Vectors are stored after each batch.
    device
        ``cpu``, ``cuda`` ...; None lets the package choose.
    """

    model: str = Field(default="sentence-transformers/all-MiniLM-L6-v2", min_length=1)
    prompt: str = ""
    dimensions: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    device: str | None = Field(default=None, min_length=1)
