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
    """Settings of the evaluation.

    Parameters
    ----------
    cutoffs
        Cutoffs K of the metrics, such as ``recall@10``.
    chunk_size
        Number of users ranked at a time. Needs memory for ``chunk_size`` x items scores; larger is hardly faster.
    """

    cutoffs: tuple[Cutoff, ...] = Field(default=(10, 20, 40), min_length=1)
    chunk_size: int = Field(default=256, ge=1)

    def with_length(self, length: int) -> EvaluationOptions:
        """Return the same options with `length` as a further cutoff, if it is not one already."""
        return replace(self, cutoffs=tuple(sorted({*self.cutoffs, length})))
