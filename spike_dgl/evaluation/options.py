"""Settings of evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT

Cutoff = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True, config=STRICT)
class EvaluationOptions:
    """How rankings are evaluated.

    Parameters
    ----------
    cutoffs
        List lengths K of the metrics: ``recall@10`` and so on.
    chunk_size
        Users ranked at a time; more take more memory (``chunk_size`` x items numbers) and little less time.
    """

    cutoffs: tuple[Cutoff, ...] = Field(default=(10, 20, 40), min_length=1)
    chunk_size: int = Field(default=256, ge=1)

    def with_length(self, length: int) -> EvaluationOptions:
        """Return the same options with one more list length, where it is not among them."""
        return replace(self, cutoffs=tuple(sorted({*self.cutoffs, length})))
