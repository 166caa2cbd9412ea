"""Prices of tokens, which users can override."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from fnmatch import fnmatchcase
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT, build, read_yaml
from spike_dgl.errors import ConfigError

DATED = "-20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


@dataclass(frozen=True, config=STRICT)
class Price:
    """Price of one model's tokens in US dollars per million.

    Parameters
    ----------
    input
        Price of prompt tokens.
    output
        Price of answer tokens.
    batch_discount
        Discount of the Batch API, as a fraction of the price.
    """

    input: float = Field(ge=0)
    output: float = Field(default=0.0, ge=0)
    batch_discount: float = Field(default=0.0, ge=0, le=1)

    def cost(self, prompt_tokens: float, completion_tokens: float, batch: bool = False) -> float:
        """Return the cost of tokens in US dollars."""
        full = (self.input * prompt_tokens + self.output * completion_tokens) / 1e6
        return full * (1 - self.batch_discount) if batch else full


FREE = Price(input=0.0)


@plain_dataclass(frozen=True)
class PriceTable:
    """Prices by model name.

    Parameters
    ----------
    own
        Prices of the user's file; they apply to all servers.
    bundled
        Built-in prices; they apply to servers that are not local.
    date, source
        Date and source of the built-in prices.
    """

    own: Mapping[str, Price]
    bundled: Mapping[str, Price]
    date: str
    source: str

    def price(self, model: str, local: bool = False) -> Price | None:
        """Return the price of a model, or None if unknown. Local models are free unless the user's file has them."""
        found = _look_up(self.own, model)
        if found is None:
            found = FREE if local else _look_up(self.bundled, model)
        return found


def _look_up(prices: Mapping[str, Price], model: str) -> Price | None:
    patterns = (name for name in prices if fnmatchcase(model, name) or fnmatchcase(model, name + DATED))
    name = next(patterns, None)
    return None if name is None else prices[name]


def read_prices(file: Path | None = None) -> PriceTable:
    """Read the built-in prices, and the user's prices, which override them.

    Raises
    ------
    ConfigError
        If the user's file cannot be read or is not a table of prices.
    """
    with as_file(files(__package__) / "prices.yaml") as bundled:
        content = read_yaml(bundled)
        table = PriceTable({}, _models(bundled), str(content["date"]), str(content["source"]))
    return table if file is None else PriceTable(_models(file), table.bundled, table.date, table.source)


def _models(file: Path) -> dict[str, Price]:
    models = read_yaml(file).get("models")
    if not isinstance(models, dict) or not models:
        raise ConfigError(
            f"{file}: expected 'models: {{NAME: {{input: 0.15, output: 0.60}}}}', USD per million tokens"
        )
    return {str(name): build(Price, values, f"{file}: models.{name}") for name, values in models.items()}
