"""What the server answers from: a run, opened once."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spike_dgl.config import read_yaml
from spike_dgl.data.dataset import Vocabulary
from spike_dgl.errors import SpikeError, UnknownIdError
from spike_dgl.recommend import Recommender
from spike_dgl.serve import limits
from spike_dgl.serve.messages import Named, Run
from spike_dgl.serve.search import Matches, NameIndex
from spike_dgl.serve.worker import Worker

if TYPE_CHECKING:
    from spike_dgl.explain import Explainer, Explanation
    from spike_dgl.explain.explanation import Over


class Service:
    """The recommender of a run, its explainer, and an index of its names.

    The recommender is there at once. What needs the model, explanations and newcomers, is opened on the worker's
    thread, while other questions are answered already.

    Parameters
    ----------
    run
        Run folder. Raises `DataError` as `Recommender.load` does.
    with_model
        Open the model at once. Else the run does not explain, and the first newcomer waits for the model.
    """

    def __init__(self, run: Path, *, with_model: bool = True) -> None:
        self.name = run.resolve().name
        self.recommender = Recommender.load(run)
        self.users, self.items = self.recommender.users, self.recommender.items
        self.worker = Worker("slow calls", limits.WAITING_CALLS)
        self._model_name: str = read_yaml(run / "config.yaml")["model"]["name"]
        self._indices = {kind.kind: NameIndex(kind) for kind in (self.users, self.items)}
        self._explainer: Future[Explainer] | None = None
        if with_model:
            self._explainer = self.worker.start(lambda: _open_explainer(run))
            # Whoever asks first for someone new would otherwise wait for the model and the encoder.
            self.worker.start(lambda: self.recommender.recommend_for_items(self.items.ids[:1], 1))
            self.worker.start(self.recommender.newcomers.encoder)

    async def explain(self, user: str, item: str, num_paths: int, over: Over) -> Explanation:
        """Why an item is recommended to a user; waits for the model where that is still loading.

        Raises `SpikeError` where the run cannot be explained, and `Busy` where too many wait already.
        """
        explainer = self._explainer
        if explainer is None:
            raise SpikeError(_WITHOUT_MODEL)
        return await self.worker.run(
            lambda: explainer.result().explain(user, item, num_paths=num_paths, over=over)
        )

    def describe(self) -> Run:
        """What is served."""
        state, remark = self._explanations()
        return Run(
            name=self.name,
            model=self._model_name,
            data=self.recommender.dataset.name,
            num_users=len(self.users),
            num_items=len(self.items),
            explanations=state,
            remark=remark,
        )

    def _explanations(self) -> tuple[Literal["loading", "ready", "unavailable"], str]:
        """Whether explanations can be had, and why not."""
        if self._explainer is None:
            return "unavailable", _WITHOUT_MODEL
        if not self._explainer.done():
            return "loading", ""
        error = self._explainer.exception()
        return ("ready", "") if error is None else ("unavailable", str(error))

    def search(self, vocabulary: Vocabulary, query: str, limit: int) -> Matches:
        """Rows of users or items by a part of their name or id."""
        return self._indices[vocabulary.kind].search(query, limit)

    def close(self) -> None:
        """Take no more slow calls."""
        self.worker.close()


_WITHOUT_MODEL = "the server was started without the model, so it cannot explain"


def _open_explainer(run: Path) -> Explainer:
    from spike_dgl.explain import Explainer

    return Explainer.load(run)


def check_known(vocabulary: Vocabulary, raw_ids: list[str]) -> None:
    """Raise `UnknownIdError` for the first id that is unknown.

    `Vocabulary.index` also looks for the nearest id, which takes a second where there are 100,000 of them.
    """
    for raw in raw_ids:
        if raw not in vocabulary:
            raise UnknownIdError(
                f"unknown {vocabulary.kind} '{raw}'; find one with /api/{vocabulary.kind}s?query="
            )


def named(vocabulary: Vocabulary, row: int) -> Named:
    """A row of a vocabulary."""
    return Named(id=vocabulary.ids[row], name=vocabulary.names[row])
