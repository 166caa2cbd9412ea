"""Renamed settings. Old names are accepted, with a warning, until the next version."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

from spike_dgl.errors import SpikeWarning

RENAMED = {
    "data.rehearsal": "data.inner_split",
    "model.kernels": "model.backend",
    "model.shared_projection": "model.quirks.shared_projection",
    "model.idle_relations": "model.quirks.idle_relations",
    "model.masked_edges": "model.quirks.masked_edges",
}
"""New dotted key of each old one, in the same section."""
RENAMED_VALUES = {("training.negatives_from", "met"): "seen"}
"""New value of a setting by its key and old value."""


class RenamedWarning(SpikeWarning, FutureWarning):
    """Use of an old name of a setting."""


def with_present_names(section: str, values: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """Return the settings of a section with old names and values replaced, each with a `RenamedWarning`."""
    result = copy.deepcopy(dict(values))
    for old, new in RENAMED.items():
        key = old.removeprefix(f"{section}.")
        if key == old or key not in result:
            continue
        if warn:
            warnings.warn(f"the setting {old} was renamed to {new}", RenamedWarning, stacklevel=3)
        *inner, name = new.removeprefix(f"{section}.").split(".")
        part = result
        for each in inner:
            part = part.setdefault(each, {})
        part[name] = result.pop(key)
    for (key, value), replacement in RENAMED_VALUES.items():
        name = key.removeprefix(f"{section}.")
        if name != key and result.get(name) == value:
            if warn:
                message = f"{key}={value} was renamed to {key}={replacement}"
                warnings.warn(message, RenamedWarning, stacklevel=3)
            result[name] = replacement
    return result


def present_name(key: str) -> str:
    """Return the current dotted key of a setting."""
    return RENAMED.get(key, key)
