"""iALS: matrix factorisation by alternating least squares."""

from __future__ import annotations

from functools import cached_property

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import Embeddings, ModelInputs, RecommenderModel, ScoreFunction, register
from spike_dgl.models.histories import HISTORY_SEARCH, HistoryOptions, history_matrix
from spike_dgl.models.irspack_models import irspack_recommender, threads
from spike_dgl.nn.graphs.interactions import interaction_matrix


@dataclass(frozen=True, config=STRICT)
class IalsOptions(HistoryOptions):
    """Settings of iALS, besides those of `HistoryOptions`.

    Parameters
    ----------
    embedding_dim
        Embedding dimension D.
    unobserved_weight
        Weight alpha_0 of all user-item pairs, whose score should be 0; that of an interaction is 1.
    l2_weight
        Weight lambda of the squared norms.
    frequency_exponent
        Power nu of a node's number of interactions in the weight of its norm.
    sweeps
        Number of times that users and items are solved for in turn.
    """

    embedding_dim: int = Field(default=64, gt=0, le=4096)
    unobserved_weight: float = Field(default=0.1, gt=0.0)
    l2_weight: float = Field(default=3e-2, gt=0.0)
    frequency_exponent: float = Field(default=1.0, ge=0.0)
    sweeps: int = Field(default=16, ge=1, le=1000)


SEARCH = {
    "model.embedding_dim": (32, 64, 128),
    "model.unobserved_weight": (0.03, 0.1, 0.3),
    "model.l2_weight": (3e-3, 1e-2, 3e-2, 1e-1),
    **HISTORY_SEARCH,
}


@register("ials", IalsOptions, SEARCH)
class Ials(RecommenderModel):
    """Implicit matrix factorisation, by irspack.

    With S the interactions, w and h the embeddings of users and items, the loss is

        sum_{(u,i) in S} (<w_u, h_i> - 1)^2 + alpha_0 sum_{u,i} <w_u, h_i>^2
            + lambda (sum_u (n_u + alpha_0 I)^nu |w_u|^2 + sum_i (n_i + alpha_0 U)^nu |h_i|^2)

    Sources: Hu et al., "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, in the form of Rendle et
    al., "Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022. With a half-life, users
    are solved for once more, with weighted interactions.

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `IalsOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing.
    """

    def __init__(self, inputs: ModelInputs, options: IalsOptions) -> None:
        super().__init__()
        self.options = options
        self.histories = history_matrix(inputs.graph, options.half_life)
        self.recommender = irspack_recommender(
            "IALSRecommender",
            interaction_matrix(inputs.graph),
            n_components=options.embedding_dim,
            alpha0=options.unobserved_weight,
            reg=options.l2_weight,
            nu=options.frequency_exponent,
            random_seed=int(torch.randint(2**31 - 1, ())),
            **threads(),
        )

    @cached_property
    def embeddings(self) -> Embeddings:
        """Embeddings of users [U, D] and items [I, D]. Raises `ConfigError` if a least-squares problem is singular."""
        fitted = self.recommender
        fitted.start_learning()
        try:
            for _ in range(self.options.sweeps):  # irspack's own loop draws a progress bar
                fitted.run_epoch()
        except RuntimeError as error:
            raise ConfigError(
                f"model.name: ials cannot be fitted with these settings ({error})\n"
                "  Change model.l2_weight, model.unobserved_weight or model.frequency_exponent."
            ) from None
        users = fitted.get_user_embedding()
        if self.options.half_life is not None:
            users = fitted.compute_user_embedding(self.histories)
        return Embeddings(
            torch.from_numpy(users.copy()), torch.from_numpy(fitted.get_item_embedding().copy())
        )

    def score_function(self) -> ScoreFunction:
        """Return the inner products of `embeddings`; fits them at the first call."""
        return self.embeddings.scores
