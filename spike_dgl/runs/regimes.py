"""Training regimes: named presets of settings, in any order or in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from spike_dgl.config import merge, nested
from spike_dgl.errors import ConfigError, nearest
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.runs.config import RunConfig

Settings: TypeAlias = Mapping[str, Any]
Regime: TypeAlias = Literal["any-order", "in-order"]
RegimeName: TypeAlias = Literal["auto", "any-order", "in-order"]

# In the order of time, profiles of users are left out: they describe the whole history, which a training step cuts, so
# they contain its targets. Recency weighting moves training towards the interactions that the test split follows.
REGIMES: Mapping[Regime, Mapping[str, Any]] = MappingProxyType(
    {
        "any-order": {
            "model.newest_interactions": 0,
            "model.user_embedding": True,
            "model.user_transform": False,
            "training.recency": 0.0,
            "profiles.without": [],
        },
        "in-order": {
            "model.newest_interactions": 5,
            "model.user_embedding": False,
            "model.user_transform": True,
            "training.recency": 1.0,
            "profiles.without": ["user"],
        },
    }
)
"""Settings of each regime of SPiKE, by dotted key. Those of ``any-order`` are the defaults."""


def has_regimes(config: RunConfig) -> bool:
    """Return whether the model of a run is SPiKE, the only one with regimes."""
    return isinstance(config.model, SpikeOptions)


def in_regime(settings: Settings, name: str) -> RunConfig:
    """Return the settings of a run in a regime; given settings take precedence over those of the regime.

    Parameters
    ----------
    settings
        Settings by section, without defaults.
    name
        Name of the regime.

    Raises
    ------
    ConfigError
        If there is no such regime, the model is not SPiKE, or the settings contradict the regime.
    """
    if name not in get_args(Regime):
        raise ConfigError(f"no training regime '{name}'; {nearest(name, get_args(RegimeName))}")
    config = RunConfig.from_mapping(settings)
    if not has_regimes(config):
        raise ConfigError(
            f"the regime {name} is for SPiKE, but model.name is {config.model_name}\n"
            "  Leave out the regime; training.recency weights recent interactions for every trained model."
        )
    preset = dict(REGIMES[name])  # type: ignore[index]  # checked above
    if config.profiles.source == "none":
        del preset["profiles.without"]  # there is nothing to leave out, and asking for it is an error
    return RunConfig.from_mapping(merge(nested(preset), settings))
