"""What tokens cost: a table of prices that users can edit."""

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
    """US dollars per million tokens of one model.

    Parameters
    ----------
    input
        For tokens of prompts.
    output
        For tokens of answers.
    batch_discount
        Part of the price that the Batch API takes off.
    """

    input: float = Field(ge=0)
    output: float = Field(default=0.0, ge=0)
    batch_discount: float = Field(default=0.0, ge=0, le=1)

    def cost(self, prompt_tokens: float, completion_tokens: float, batch: bool = False) -> float:
        """US dollars for so many tokens."""
        full = (self.input * prompt_tokens + self.output * completion_tokens) / 1e6
        return full * (1 - self.batch_discount) if batch else full


FREE = Price(input=0.0)


@plain_dataclass(frozen=True)
class PriceTable:
    """Prices by name of a model.

    Parameters
    ----------
    own
        From the user's file; they hold for any server.
    bundled
        From the package; they hold for servers that are not local.
    date, source
        Of the bundled prices.
    """

    own: Mapping[str, Price]
    bundled: Mapping[str, Price]
    date: str
    source: str

    def price(self, model: str, local: bool = False) -> Price | None:
        """Of a model, or None where it is unknown; a local server is free unless the user's own table names it."""
        found = _look_up(self.own, model)
        if found is None:
            found = FREE if local else _look_up(self.bundled, model)
        return found


def _look_up(prices: Mapping[str, Price], model: str) -> Price | None:
    patterns = (name for name in prices if fnmatchcase(model, name) or fnmatchcase(model, name + DATED))
    name = next(patterns, None)
    return None if name is None else prices[name]


def read_prices(file: Path | None = None) -> PriceTable:
    """The bundled table, with the user's own before it.

    Raises
    ------
    ConfigError
        If the user's file cannot be read or holds something else.
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
