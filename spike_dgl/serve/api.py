"""The HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, Security
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from spike_dgl import __version__
from spike_dgl.data.dataset import Vocabulary
from spike_dgl.explain.explanation import Explanation
from spike_dgl.recommend.recommender import ScoredItem
from spike_dgl.serve import messages, security
from spike_dgl.serve.deployment import Deployment
from spike_dgl.serve.methods import Methods, Prefix
from spike_dgl.serve.metrics import Metrics
from spike_dgl.serve.observation import REQUEST_ID, Observation
from spike_dgl.serve.problems import ANSWERS_TO_ERRORS
from spike_dgl.serve.service import Service, check_known, named

PAGES = files("spike_dgl.serve") / "pages"
DESCRIPTION = """\
Ranked lists, similar items and explanations of one trained run. Users and items are named by their ids in the data,
which `/api/users` and `/api/items` find by a part of their name.
"""


async def _deployment(request: Request) -> Deployment:
    deployment: Deployment = request.app.state.deployment
    return deployment


async def _service(request: Request) -> Service:
    return (await _deployment(request)).service


Deployed = Annotated[Deployment, Depends(_deployment)]
Served = Annotated[Service, Depends(_service)]

router = APIRouter(
    prefix="/api",
    responses={
        400: {"model": messages.Problem, "description": "The body is not JSON."},
        401: {"model": messages.Problem, "description": "The token is missing or wrong."},
        404: {"model": messages.Problem, "description": "A user or item that the run does not know."},
        408: {"model": messages.Problem, "description": "The body did not arrive in time."},
        409: {"model": messages.Problem, "description": "This run cannot answer such a question."},
        413: {"model": messages.Problem, "description": "The body is too large."},
        422: {"model": messages.Invalid, "description": "The question is not of the form it should have."},
        503: {
            "model": messages.Problem,
            "description": "Too many slow questions wait already; ask again later.",
        },
    },
)


@router.get("/run", tags=["about"])
def describe_run(service: Served) -> messages.Run:
    """What this server serves."""
    return service.describe()


@router.get("/users", tags=["find"])
def find_users(asked: Annotated[messages.SearchQuestion, Query()], service: Served) -> messages.Found:
    """Users by a part of their name or id, without regard to case and accents."""
    return _found(service, service.users, asked)


@router.get("/items", tags=["find"])
def find_items(asked: Annotated[messages.SearchQuestion, Query()], service: Served) -> messages.Found:
    """Items by a part of their name or id, without regard to case and accents."""
    return _found(service, service.items, asked)


@router.get("/history", tags=["find"])
def show_history(asked: Annotated[messages.HistoryQuestion, Query()], service: Served) -> messages.History:
    """What a user interacted with, as far as the model knows it."""
    check_known(service.users, [asked.user])
    items = service.recommender.history(asked.user)
    return messages.History(
        user=named(service.users, service.users.index(asked.user)),
        items=[messages.Named(id=item.id, name=item.name) for item in items[: asked.limit]],
        total=len(items),
    )


@router.get("/recommendations", tags=["recommend"])
def recommend(asked: Annotated[messages.UserQuestion, Query()], service: Served) -> messages.UserRanking:
    """The best items for a user."""
    check_known(service.users, [asked.user])
    items = service.recommender.recommend(asked.user, asked.k, exclude_seen=asked.exclude_seen)
    return _ranking_of(asked.user, items, service)


@router.post("/recommendations", tags=["recommend"])
def recommend_to_many(asked: messages.UsersBody, service: Served) -> messages.UserRankings:
    """The best items for several users, of all items or of some."""
    check_known(service.users, asked.users)
    check_known(service.items, asked.candidates or [])
    lists = service.recommender.recommend(
        asked.users, asked.k, exclude_seen=asked.exclude_seen, candidates=asked.candidates
    )
    return messages.UserRankings(
        rankings=[_ranking_of(user, items, service) for user, items in zip(asked.users, lists, strict=True)]
    )


@router.post("/recommendations/from-items", tags=["recommend"])
async def recommend_for_items(asked: messages.LikedItemsBody, service: Served) -> messages.Ranking:
    """The best items for somebody who is not in the data, by items they like."""
    check_known(service.items, asked.items)
    items = await service.worker.run(lambda: service.recommender.recommend_for_items(asked.items, asked.k))
    return messages.Ranking(items=_scored(items))


@router.post("/recommendations/from-text", tags=["recommend"])
async def recommend_for_text(asked: messages.TasteBody, service: Served) -> messages.Ranking:
    """The best items for somebody who is not in the data, by a description of what they like."""
    items = await service.worker.run(lambda: service.recommender.recommend_for_text(asked.text, asked.k))
    return messages.Ranking(items=_scored(items))


@router.get("/similar-items", tags=["recommend"])
def find_similar_items(asked: Annotated[messages.ItemQuestion, Query()], service: Served) -> messages.Ranking:
    """Items most like an item."""
    check_known(service.items, [asked.item])
    return messages.Ranking(items=_scored(service.recommender.similar_items(asked.item, asked.k)))


@router.post("/scores", tags=["recommend"])
def score(asked: messages.ScoresBody, service: Served) -> messages.Ranking:
    """The scores of some items for a user, in the order of the question."""
    check_known(service.users, [asked.user])
    check_known(service.items, asked.items)
    scores = service.recommender.score(asked.user, asked.items)
    rows = [named(service.items, service.items.index(item)) for item in asked.items]
    return messages.Ranking(
        items=[
            messages.Scored(id=row.id, name=row.name, score=float(value))
            for row, value in zip(rows, scores, strict=True)
        ]
    )


@router.get("/explanations", tags=["explain"])
async def explain(asked: Annotated[messages.ExplanationQuestion, Query()], service: Served) -> Explanation:
    """Why an item is recommended to a user: the paths that lead to it, and what its score is made of."""
    check_known(service.users, [asked.user])
    check_known(service.items, [asked.item])
    return await service.explain(asked.user, asked.item, asked.num_paths, asked.over)


def _found(service: Service, vocabulary: Vocabulary, asked: messages.SearchQuestion) -> messages.Found:
    found = service.search(vocabulary, asked.query, asked.limit)
    return messages.Found(matches=[named(vocabulary, row) for row in found.rows], total=found.total)


def _ranking_of(user: str, items: Sequence[ScoredItem], service: Service) -> messages.UserRanking:
    ranked_by: Literal["model", "popularity"] = (
        "model" if service.recommender.has_history(user) else "popularity"
    )
    return messages.UserRanking(user=user, items=_scored(items), ranked_by=ranked_by)


def _scored(items: Sequence[ScoredItem]) -> list[messages.Scored]:
    return [messages.Scored(id=item.id, name=item.name, score=item.score) for item in items]


reloading = APIRouter(prefix=router.prefix, responses=router.responses)


@reloading.post("/reload", tags=["about"])
async def reload(deployment: Deployed) -> messages.Run:
    """Open the run folder anew and answer from it; where that fails, the run served so far goes on."""
    return (await deployment.reload()).describe()


pages = APIRouter()


@pages.get("/health", tags=["about"])
async def health() -> messages.Health:
    """That the server answers; asks for no token. One that does not is to be restarted."""
    return messages.Health()


@pages.get(
    "/ready", tags=["about"], responses={503: {"model": messages.Readiness, "description": "Not now."}}
)
async def ready(deployment: Deployed, response: Response) -> messages.Readiness:
    """Whether to send questions here; asks for no token.

    The model is still being loaded after the start, and nothing new is wanted before the end.
    """
    if deployment.state != "ready":
        response.status_code = 503
    return messages.Readiness(status=deployment.state)


@pages.get("/metrics", tags=["about"], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Requests, queue and run, as Prometheus reads them."""
    answer: Response = request.app.state.metrics.answer(request.headers.get("accept"))
    return answer


@pages.get("/", include_in_schema=False)
async def explorer() -> FileResponse:
    """The explorer."""
    return FileResponse(str(PAGES / "explorer.html"))


@pages.get("/docs", include_in_schema=False)
async def openapi_page() -> FileResponse:
    """The OpenAPI page, from files of this server; FastAPI's own loads its script from another one."""
    return FileResponse(str(PAGES / "openapi.html"))


def create_app(
    service: Service,
    *,
    token: str | None = None,
    only_local_names: bool = False,
    origins: Sequence[str] = (),
    root_path: str = "",
) -> FastAPI:
    """The web application of a run.

    Parameters
    ----------
    service
        The opened run, or the first of several: ``app.state.deployment.reload()`` puts the next in its place. Closed
        when the application ends.
    token
        Asked for by everything but pages and probes; None: nothing asks, and no request reloads the run.
    only_local_names
        Answer only where the address names this machine. Without a token, a page of another site could otherwise read
        a server on this machine through a name of its own that leads here (DNS rebinding).
    origins
        Of pages elsewhere that may read answers (CORS), such as ``https://shop.example``.
    root_path
        Prefix under which a proxy shows the application, whether it passes the prefix on or strips it.

    Raises
    ------
    SpikeError
        For an origin that no browser sends.
    """
    security.check_origins(origins)
    deployment = Deployment(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        deployment.service.close()

    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        static_url="/static/openapi",
        title="spike_dgl",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.deployment, app.state.metrics = deployment, Metrics(deployment)
    routers = [router, reloading, pages] if token else [router, pages]
    for each in routers:
        documented = [Security(HTTPBearer(auto_error=False))] if token and each is not pages else []
        app.include_router(each, dependencies=documented)
    app.mount("/static", StaticFiles(directory=str(PAGES)), name="static")
    for error, answer in ANSWERS_TO_ERRORS.items():
        app.add_exception_handler(error, answer)
    _add_middleware(app, _methods(routers), token, only_local_names, origins)
    if prefix := root_path.strip("/"):
        app.add_middleware(Prefix, prefix=f"/{prefix}")
    return app


def _methods(routers: Iterable[APIRouter]) -> dict[str, set[str]]:
    """HTTP methods of each path."""
    methods = {"/openapi.json": {"GET"}}
    for route in (route for each in routers for route in each.routes):
        assert isinstance(route, APIRoute)
        methods.setdefault(route.path, set()).update(route.methods or ())
    return methods


def _add_middleware(
    app: FastAPI,
    methods: Mapping[str, set[str]],
    token: str | None,
    only_local_names: bool,
    origins: Sequence[str],
) -> None:
    """What a request passes before it is routed; the last one added is the first one passed."""
    app.add_middleware(security.BodyLimit)
    app.add_middleware(Methods, methods=methods)
    app.add_middleware(security.RequestLimit)
    if token is not None:
        app.add_middleware(security.TokenGate, token=token)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", REQUEST_ID],
            expose_headers=["Retry-After", REQUEST_ID],
        )
    if only_local_names:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=security.LOCAL_NAMES, www_redirect=False)
    app.add_middleware(security.SecurityHeaders)
    app.add_middleware(
        Observation, deployment=app.state.deployment, metrics=app.state.metrics, routes=methods
    )
