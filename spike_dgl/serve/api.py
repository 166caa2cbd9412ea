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
Ranking lists, similar items and explanations of one trained run. Requests name users and items by their raw ids in the
data; `/api/users` and `/api/items` search for ids by name.
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
        404: {"model": messages.Problem, "description": "The run has no such user or item."},
        408: {"model": messages.Problem, "description": "The body did not arrive in time."},
        409: {"model": messages.Problem, "description": "This run cannot answer the request."},
        413: {"model": messages.Problem, "description": "The body is too large."},
        422: {"model": messages.Invalid, "description": "A parameter or the body is not valid."},
        503: {"model": messages.Problem, "description": "The request queue is full; retry later."},
    },
)


@router.get("/run", tags=["about"])
def describe_run(service: Served) -> messages.Run:
    """Describe the run that is served."""
    return service.describe()


@router.get("/users", tags=["find"])
def find_users(asked: Annotated[messages.SearchQuestion, Query()], service: Served) -> messages.Found:
    """Search users by a part of their name or id, ignoring case and accents."""
    return _found(service, service.users, asked)


@router.get("/items", tags=["find"])
def find_items(asked: Annotated[messages.SearchQuestion, Query()], service: Served) -> messages.Found:
    """Search items by a part of their name or id, ignoring case and accents."""
    return _found(service, service.items, asked)


@router.get("/history", tags=["find"])
def show_history(asked: Annotated[messages.HistoryQuestion, Query()], service: Served) -> messages.History:
    """Return the items of a user's training and validation interactions."""
    check_known(service.users, [asked.user])
    items = service.recommender.history(asked.user)
    return messages.History(
        user=named(service.users, service.users.index(asked.user)),
        items=[messages.Named(id=item.id, name=item.name) for item in items[: asked.limit]],
        total=len(items),
    )


@router.get("/recommendations", tags=["recommend"])
def recommend(asked: Annotated[messages.UserQuestion, Query()], service: Served) -> messages.UserRanking:
    """Return the top-k items for a user."""
    check_known(service.users, [asked.user])
    items = service.recommender.recommend(asked.user, asked.k, exclude_seen=asked.exclude_seen)
    return _ranking_of(asked.user, items, service)


@router.post("/recommendations", tags=["recommend"])
def recommend_to_many(asked: messages.UsersBody, service: Served) -> messages.UserRankings:
    """Return the top-k items for several users, of all items or of `candidates`."""
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
    """Return the top-k items for a user who is not in the data, from items they like."""
    check_known(service.items, asked.items)
    items = await service.worker.run(lambda: service.recommender.recommend_for_items(asked.items, asked.k))
    return messages.Ranking(items=_scored(items))


@router.post("/recommendations/from-text", tags=["recommend"])
async def recommend_for_text(asked: messages.TasteBody, service: Served) -> messages.TextRanking:
    """Return the top-k items for a query, or for a description of what a user likes who is not in the data.

    Each item has the words of the text that match it. Without any, it is listed by the model alone.
    """
    ranking = await service.worker.run(lambda: service.recommender.recommend_for_text(asked.text, asked.k))
    items = [
        messages.Matched(id=item.id, name=item.name, score=item.score, match=item.match) for item in ranking
    ]
    liked = [messages.Named(id=item.id, name=item.name) for item in ranking.liked]
    return messages.TextRanking(items=items, liked=liked, unknown_words=list(ranking.unknown_words))


@router.get("/similar-items", tags=["recommend"])
def find_similar_items(asked: Annotated[messages.ItemQuestion, Query()], service: Served) -> messages.Ranking:
    """Return the items most similar to an item."""
    check_known(service.items, [asked.item])
    return messages.Ranking(items=_scored(service.recommender.similar_items(asked.item, asked.k)))


@router.post("/scores", tags=["recommend"])
def score(asked: messages.ScoresBody, service: Served) -> messages.Ranking:
    """Return the scores of given items for a user, in the order of the request."""
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
    """Explain why an item is recommended to a user: paths from user to item, and the parts of the score."""
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
    """Open the run folder again and serve the run that is there now. If that fails, the present run stays."""
    return (await deployment.reload()).describe()


pages = APIRouter()


@pages.get("/health", tags=["about"])
async def health() -> messages.Health:
    """Liveness probe: always "ok". Needs no token; a server that does not answer should be restarted."""
    return messages.Health()


@pages.get(
    "/ready", tags=["about"], responses={503: {"model": messages.Readiness, "description": "Not ready."}}
)
async def ready(deployment: Deployed, response: Response) -> messages.Readiness:
    """Readiness probe: tells a load balancer whether to send requests here. Needs no token.

    Not ready while the model is being loaded after the start, and while the server drains before it stops.
    """
    if deployment.state != "ready":
        response.status_code = 503
    return messages.Readiness(status=deployment.state)


@pages.get("/metrics", tags=["about"], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return metrics of requests, queue and run in Prometheus format."""
    answer: Response = request.app.state.metrics.answer(request.headers.get("accept"))
    return answer


@pages.get("/", include_in_schema=False)
async def explorer() -> FileResponse:
    """Return the explorer's page."""
    return FileResponse(str(PAGES / "explorer.html"))


@pages.get("/docs", include_in_schema=False)
async def openapi_page() -> FileResponse:
    """Return the OpenAPI page. Its files are on this server; FastAPI's default page loads a script from elsewhere."""
    return FileResponse(str(PAGES / "openapi.html"))


def create_app(
    service: Service,
    *,
    token: str | None = None,
    only_local_names: bool = False,
    origins: Sequence[str] = (),
    root_path: str = "",
) -> FastAPI:
    """Create the web application of a run.

    Parameters
    ----------
    service
        The opened run. ``app.state.deployment.reload()`` replaces it by a newer one. The last one is closed when the
        application ends.
    token
        Bearer token that all requests but those for pages and probes need. None requires no token, and leaves out
        the route that reloads the run.
    only_local_names
        Answer only requests whose Host header names this machine. Without a token, this prevents DNS rebinding: a page
        of another site could otherwise read the server's responses.
    origins
        Origins of other sites whose pages may read responses (CORS), such as ``https://shop.example``.
    root_path
        Path prefix under which a proxy publishes the application. The proxy may forward or strip it.

    Raises
    ------
    SpikeError
        If an origin is not in the form that browsers send.
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
    """Return the HTTP methods of each path."""
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
    """Add the middleware. A request passes through it before it is routed, last added first."""
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
