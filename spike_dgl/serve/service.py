"""An opened run that answers the server's requests."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spike_dgl import __version__
from spike_dgl.data.dataset import Vocabulary
from spike_dgl.errors import DataError, SpikeError, UnknownIdError
from spike_dgl.recommend.recommender import Recommender
from spike_dgl.runs.folder import RunFolder
from spike_dgl.serve import limits
from spike_dgl.serve.messages import Named, Run
from spike_dgl.serve.name_index import Matches, NameIndex
from spike_dgl.serve.worker import Worker

if TYPE_CHECKING:
    from spike_dgl.explain import Explainer, Explanation
    from spike_dgl.explain.explanation import Over
    from spike_dgl.training.devices import Device


SCORED_USERS = 10
"""Number of users whose best item's score is compared between the model and the stored embeddings."""
SAME_SCORE = 0.05
"""Tolerance, relative to the largest score: training in half precision or on a GPU rounds differently."""


class Service:
    """Recommender of a run, its explainer, and an index of its names.

    The recommender is available at once. Explanations and cold start need the model, which is loaded on the worker's
    thread while other requests are already answered.

    Parameters
    ----------
    run
        Run folder, or a link to one. A link is resolved once, so that all files come from the same run.
    with_model
        Load the model in the background. If false, the run has no explanations, and the first cold-start request
        waits for the model.
    device
        Device that ranks the items for users of the data; see `Recommender`.

    Raises
    ------
    DataError
        See `Recommender.load`; also if embeddings are not finite.
    """

    def __init__(self, run: Path, *, with_model: bool = True, device: Device = "cpu") -> None:
        self.run, self.with_model, self.device = run, with_model, device
        folder = RunFolder.open(run.resolve())
        self.name = folder.path.name
        self.recommender = _open_recommender(folder.path, device)
        self.users, self.items = self.recommender.users, self.recommender.items
        self.worker = Worker("slow calls", limits.WAITING_CALLS)
        self.trained = _trained(folder)
        self._model_name: str = folder.settings()["model"]["name"]
        self._indices = {kind.kind: NameIndex(kind) for kind in (self.users, self.items)}
        self._explainer: Future[Explainer] | None = None
        self._opening: dict[str, Future[Any]] = {}
        if with_model:
            self._open_model(folder.path)

    def _open_model(self, run: Path) -> None:
        """Load in the background everything that a first request would otherwise wait for."""
        recommender, first = self.recommender, self.items.ids[:1]
        self._explainer = self.worker.start(lambda: _open_explainer(run, recommender))
        self._opening = {
            "explain": self._explainer,
            "recommend for liked items": self.worker.start(lambda: recommender.recommend_for_items(first, 1)),
            "recommend for a text": self.worker.start(lambda: recommender.cold_start.open_texts()),
        }

    @property
    def is_open(self) -> bool:
        """True if loading in the background has ended."""
        return all(opened.done() for opened in self._opening.values())

    def reopened(self) -> Service:
        """Open the run folder again, and wait until the new service has all abilities of this one.

        Raises `SpikeError` if it lacks one, and `DataError` as the constructor does.
        """
        new = Service(self.run, with_model=self.with_model, device=self.device)
        try:
            new.recommender.recommend(new.users.ids[0], 1)
            wait([*self._opening.values(), *new._opening.values()])
            for ability, opened in new._opening.items():
                error = opened.exception()
                if error is not None and self._opening[ability].exception() is None:
                    raise SpikeError(f"the new run cannot {ability}, but {self.name} can: {error}")
        except BaseException:
            new.close()
            raise
        return new

    async def explain(self, user: str, item: str, num_paths: int, over: Over) -> Explanation:
        """Explain why an item is recommended to a user; wait while the model is loading.

        Raises `SpikeError` if the run cannot be explained, and `Busy` if the request queue is full.
        """
        explainer = self._explainer
        if explainer is None:
            raise SpikeError(_WITHOUT_MODEL)
        return await self.worker.run(
            lambda: explainer.result().explain(user, item, num_paths=num_paths, over=over)
        )

    def describe(self) -> Run:
        """Return the description of the run."""
        state, remark = self._explanations()
        return Run(
            name=self.name,
            model=self._model_name,
            data=self.recommender.dataset.name,
            num_users=len(self.users),
            num_items=len(self.items),
            trained=self.trained.isoformat() if self.trained else "",
            checksum=self.recommender.dataset.checksum,
            version=__version__,
            explanations=state,
            remark=remark,
        )

    def _explanations(self) -> tuple[Literal["loading", "ready", "unavailable"], str]:
        """Return the state of explanations, and why they are unavailable."""
        if self._explainer is None:
            return "unavailable", _WITHOUT_MODEL
        if not self._explainer.done():
            return "loading", ""
        error = self._explainer.exception()
        return ("ready", "") if error is None else ("unavailable", str(error))

    def search(self, vocabulary: Vocabulary, query: str, limit: int) -> Matches:
        """Search users or items by a part of their name or id."""
        return self._indices[vocabulary.kind].search(query, limit)

    def close(self) -> None:
        """Close the worker."""
        self.worker.close()


_WITHOUT_MODEL = "the server was started without the model, so it cannot explain"


def _open_recommender(run: Path, device: Device) -> Recommender:
    recommender = Recommender.load(run, device=device)
    if not recommender.has_embeddings:
        return recommender  # its scores are checked when they are ranked
    for embeddings in (recommender.user_embeddings, recommender.item_embeddings):
        # A row with a value that is not finite has a sum that is not; a mask of all values would take much memory.
        if not np.isfinite(embeddings.sum(axis=1)).all():
            raise DataError(
                run,
                "has embeddings that are not finite: training diverged",
                "Train again.",
            )
    return recommender


def _open_explainer(run: Path, recommender: Recommender) -> Explainer:
    """Load the explainer and compare some scores with the recommender's.

    They differ if training still writes to the run folder: its checkpoint is then newer than its embeddings.
    """
    from spike_dgl.explain import Explainer

    explainer = Explainer.load(run)
    for user in range(min(SCORED_USERS, len(recommender.users))):
        scores = recommender.scores_of(user)
        best = int(scores.argmax())
        score = explainer.score(user, len(recommender.users) + best)
        if abs(score - scores[best]) > SAME_SCORE * np.abs(scores).max():
            raise DataError(
                run,
                "has a best.pt whose scores differ from those of its embeddings",
                "Wait for training to end, and reload.",
            )
    return explainer


def _trained(folder: RunFolder) -> datetime | None:
    """Return when training ended, None if unknown. Times without a time zone, of older versions, count as local."""
    with suppress(DataError, KeyError, ValueError):
        return datetime.fromisoformat(folder.read_json("result.json")["finished"]).astimezone()
    return None


def check_known(vocabulary: Vocabulary, raw_ids: list[str]) -> None:
    """Raise `UnknownIdError` for the first id that is unknown.

    `Vocabulary.index` also searches for the nearest id, which takes a second for 100,000 ids.
    """
    for raw in raw_ids:
        if raw not in vocabulary:
            raise UnknownIdError(
                f"unknown {vocabulary.kind} '{raw}'; find one with /api/{vocabulary.kind}s?query="
            )


def named(vocabulary: Vocabulary, row: int) -> Named:
    """Return id and name of a row of a vocabulary."""
    return Named(id=vocabulary.ids[row], name=vocabulary.names[row])
