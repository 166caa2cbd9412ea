"""HTTP API: the same answers as in Python, and clear error messages."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from spike_dgl import __version__
from spike_dgl.explain import Explainer
from spike_dgl.recommend import Recommender, ScoredItem
from spike_dgl.serve import limits
from spike_dgl.serve.service import Service
from tests.serve.conftest import NASTY_ITEM, NASTY_TITLE, NASTY_USER, local_client, open_service, train

TOKEN = "a-token-of-some-length"
UNKNOWN = "no such id"


@pytest.fixture(scope="module")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)


def listed(items: list[ScoredItem]) -> list[dict]:
    return [vars(item) for item in items]


def test_lists_equal_those_in_python(client: TestClient, recommender: Recommender) -> None:
    asked = {"user": NASTY_USER, "k": 3}
    one = client.get("/api/recommendations", params=asked)
    assert one.status_code == 200
    items = listed(recommender.recommend(NASTY_USER, 3))
    assert one.json() == {"user": NASTY_USER, "items": items, "ranked_by": "model"}

    seen = client.get("/api/recommendations", params={**asked, "exclude_seen": False}).json()["items"]
    assert seen == listed(recommender.recommend(NASTY_USER, 3, exclude_seen=False))

    body = {"users": ["0", NASTY_USER], "k": 2, "candidates": ["1", "2", "3"]}
    rankings = client.post("/api/recommendations", json=body).json()["rankings"]
    assert [ranking["user"] for ranking in rankings] == ["0", NASTY_USER]
    expected = recommender.recommend(["0", NASTY_USER], 2, candidates=["1", "2", "3"])
    assert [ranking["items"] for ranking in rankings] == [listed(items) for items in expected]


def test_a_list_by_popularity_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recommender, "has_history", lambda self, user: user != "0")
    rankings = client.post("/api/recommendations", json={"users": ["0", NASTY_USER]}).json()["rankings"]
    assert [ranking["ranked_by"] for ranking in rankings] == ["popularity", "model"]


def test_scores_similar_items_and_history_equal_those_in_python(
    client: TestClient, recommender: Recommender
) -> None:
    scores = client.post("/api/scores", json={"user": "0", "items": ["4", "2"]}).json()["items"]
    assert [(item["id"], item["name"]) for item in scores] == [("4", "Film 4"), ("2", NASTY_TITLE)]
    assert [item["score"] for item in scores] == recommender.score("0", ["4", "2"]).tolist()

    similar = client.get("/api/similar-items", params={"item": "4", "k": 3}).json()["items"]
    assert similar == listed(recommender.similar_items("4", 3))

    history = client.get("/api/history", params={"user": NASTY_USER, "limit": 2}).json()
    known = recommender.history(NASTY_USER)
    assert history["user"] == {"id": NASTY_USER, "name": NASTY_USER}
    assert history["items"] == [vars(item) for item in known[:2]]
    assert history["total"] == len(known)


def test_new_users(client: TestClient, recommender: Recommender) -> None:
    by_items = client.post("/api/recommendations/from-items", json={"items": ["0", "2"], "k": 4})
    assert by_items.json() == {"items": listed(recommender.recommend_for_items(["0", "2"], 4))}
    found = recommender.recommend_for_text("comedy qwertz", 4)
    by_text = client.post("/api/recommendations/from-text", json={"text": "comedy qwertz", "k": 4}).json()
    assert by_text == json.loads(json.dumps(vars(found), default=vars))
    assert by_text["unknown_words"] == ["qwertz"]
    assert by_text["items"][0]["match"]["entities"][0]["name"] == "Comedy"
    unheard = client.post("/api/recommendations/from-text", json={"text": "qqq"})
    assert unheard.status_code == 409
    assert "knows no word" in unheard.json()["detail"]


def test_an_explanation_equals_that_in_python(
    client: TestClient, run: Path, recommender: Recommender
) -> None:
    answer = client.get("/api/explanations", params={"user": NASTY_USER, "item": "2", "num_paths": 2})
    assert answer.status_code == 200
    assert answer.json() == json.loads(
        json.dumps(Explainer.load(run).explain(NASTY_USER, "2", num_paths=2).to_dict())
    )
    assert len(answer.json()["paths"]) == 2
    described = client.get("/api/run").json()
    assert described == {
        "name": "spike",
        "model": "spike",
        "data": "films",
        "num_users": 30,
        "num_items": 40,
        "trained": described["trained"],
        "checksum": recommender.dataset.checksum,
        "version": __version__,
        "explanations": "ready",
        "remark": "",
    }
    seconds = time.time() - datetime.fromisoformat(described["trained"]).timestamp()
    assert 0 <= seconds < 3600


def test_names_are_found_without_case_and_accents_exact_ones_first(client: TestClient) -> None:
    found = client.get("/api/items", params={"query": "FILM 1", "limit": 3}).json()
    assert [match["name"] for match in found["matches"]] == ["Film 1", "Film 10", "Film 11"]
    assert found["total"] == 11
    assert client.get("/api/items", params={"query": "amelie"}).json()["matches"] == [
        {"id": NASTY_ITEM, "name": NASTY_TITLE}
    ]
    assert client.get("/api/users", params={"query": "ü"}).json()["matches"][0]["id"] == NASTY_USER
    assert client.get("/api/users").json()["total"] == 30
    assert client.get("/api/users", params={"query": "nobody"}).json() == {"matches": [], "total": 0}


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "recommendations", {"user": UNKNOWN}),
        ("GET", "history", {"user": UNKNOWN}),
        ("GET", "similar-items", {"item": UNKNOWN}),
        ("GET", "explanations", {"user": UNKNOWN, "item": "2"}),
        ("GET", "explanations", {"user": "0", "item": UNKNOWN}),
        ("POST", "recommendations", {"users": ["0", UNKNOWN]}),
        ("POST", "recommendations", {"users": ["0"], "candidates": [UNKNOWN]}),
        ("POST", "recommendations/from-items", {"items": [UNKNOWN]}),
        ("POST", "scores", {"user": "0", "items": [UNKNOWN]}),
    ],
)
def test_an_unknown_id_is_named(client: TestClient, method: str, path: str, asked: dict) -> None:
    where = {"params": asked} if method == "GET" else {"json": asked}
    answer = client.request(method, f"/api/{path}", **where)
    assert answer.status_code == 404
    assert f"'{UNKNOWN}'; find one with /api/" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "recommendations", {"user": "0", "k": 0}),
        ("GET", "recommendations", {"user": "0", "k": limits.LIST_LENGTH + 1}),
        ("GET", "recommendations", {"user": "0", "length": 3}),
        ("GET", "recommendations", {"user": "x" * (limits.ID_LENGTH + 1)}),
        ("GET", "recommendations", {}),
        ("GET", "users", {"limit": limits.MATCHES + 1}),
        ("GET", "explanations", {"user": "0", "item": "2", "num_paths": limits.PATHS + 1}),
        ("POST", "recommendations", {"users": []}),
        ("POST", "recommendations", {"users": ["0"], "k": "3"}),
        ("POST", "recommendations", {"users": ["0"] * (limits.USERS + 1)}),
        ("POST", "recommendations/from-items", {"items": ["2"] * (limits.LIKED_ITEMS + 1)}),
        ("POST", "recommendations/from-text", {"text": " "}),
        ("POST", "recommendations/from-text", {"text": "x" * (limits.TEXT_LENGTH + 1)}),
        ("POST", "scores", {"user": "0", "items": ["2"] * (limits.CANDIDATES + 1)}),
    ],
)
def test_an_invalid_request_is_refused(client: TestClient, method: str, path: str, asked: dict) -> None:
    where = {"params": asked} if method == "GET" else {"json": asked}
    answer = client.request(method, f"/api/{path}", **where)
    assert answer.status_code == 422
    assert {"loc", "msg", "type"} == set(answer.json()["detail"][0])


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "recommendations", {"user": "0", "k": limits.LIST_LENGTH}),
        ("GET", "history", {"user": "0", "limit": limits.LIST_LENGTH}),
        ("GET", "users", {"query": "x" * limits.ID_LENGTH, "limit": limits.MATCHES}),
        ("GET", "explanations", {"user": "0", "item": "2", "num_paths": limits.PATHS}),
        ("POST", "recommendations", {"users": ["0"] * limits.USERS, "candidates": ["2"] * limits.CANDIDATES}),
        ("POST", "recommendations/from-items", {"items": ["2"] * limits.LIKED_ITEMS}),
        ("POST", "recommendations/from-text", {"text": "comedy " * (limits.TEXT_LENGTH // 7)}),
        ("POST", "scores", {"user": "0", "items": ["2"] * limits.CANDIDATES}),
    ],
)
def test_the_largest_question_is_answered(client: TestClient, method: str, path: str, asked: dict) -> None:
    where = {"params": asked} if method == "GET" else {"json": asked}
    assert client.request(method, f"/api/{path}", **where).status_code == 200


def test_a_body_that_is_not_json_or_too_large_is_refused(client: TestClient) -> None:
    def posted(body: bytes) -> int:
        return client.post(
            "/api/scores", content=body, headers={"Content-Type": "application/json"}
        ).status_code

    assert posted(b"{") == 422
    assert posted(b'{"user": "\xff"}') == 400
    assert posted(b'{"user": "\\ud800", "items": ["2"]}') == 422
    assert posted(b" " * (limits.BODY_BYTES + 1)) == 413


def test_only_api_paths_need_the_token(service: Service) -> None:
    client = local_client(service, token=TOKEN)
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = client.get("/api/run", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    assert client.get("/api/nothing").status_code == 401
    assert client.get("/api/run", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    for path in ("/", "/docs", "/openapi.json", "/health", "/static/explorer.js"):
        assert client.get(path).status_code == 200
    schema = client.get("/openapi.json").json()
    assert schema["paths"]["/api/run"]["get"]["security"] == [{"HTTPBearer": []}]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("attacker.example", 400),
        ("localhost.attacker.example", 400),
    ],
)
def test_only_names_of_this_machine_are_answered(client: TestClient, host: str, status: int) -> None:
    assert client.get("/api/run", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/static/explorer.js", "/api/run", "/nothing"])
def test_every_response_has_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers.get("Cache-Control") == ("no-store" if path in ("/api/run", "/nothing") else None)
    # Pages of other sites must not read responses.
    assert "Access-Control-Allow-Origin" not in headers


def test_a_hostile_title_comes_as_json(client: TestClient) -> None:
    answer = client.get("/api/items", params={"query": "script"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["matches"][0]["name"] == NASTY_TITLE


@pytest.mark.parametrize("path", ["/static/../api.py", "/static/%2e%2e/api.py", "/static/..%2fapi.py"])
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_too_many_slow_requests_get_503(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.worker, "capacity", 0)
    answer = client.get("/api/explanations", params={"user": "0", "item": "2"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert client.get("/api/recommendations", params={"user": "0"}).status_code == 200


def test_terms_of_the_score_are_explained(data_with_names: Path, tmp_path: Path) -> None:
    run = train(data_with_names, tmp_path / "run", "spike", linear_weight=0.5, popularity_weight=0.3)
    service = Service(run)
    try:
        client = local_client(service)
        item = client.get("/api/recommendations", params={"user": "0", "k": 1}).json()["items"][0]
        found = client.get("/api/explanations", params={"user": "0", "item": item["id"]}).json()
    finally:
        service.close()
    assert found["score"] == pytest.approx(item["score"], abs=1e-4)
    assert found["parts"]["linear"]
    assert found["parts"]["popularity"]


def test_a_run_that_cannot_be_explained_says_so(data_with_names: Path, tmp_path: Path, run: Path) -> None:
    other = Service(train(data_with_names, tmp_path / "lightgcn", "lightgcn"))
    without = Service(run, with_model=False)
    try:
        for service, reason in ((other, "only spike can be explained"), (without, "without the model")):
            client = local_client(service)
            answer = client.get("/api/explanations", params={"user": "0", "item": "2"})
            assert answer.status_code == 409
            assert reason in answer.json()["detail"]
            described = client.get("/api/run").json()
            assert described["explanations"] == "unavailable"
            assert reason in described["remark"]
            assert client.get("/api/recommendations", params={"user": "0"}).status_code == 200
    finally:
        other.close()
        without.close()


def test_a_fitted_model_answers_for_users_and_says_what_it_cannot_do(
    data_with_names: Path, tmp_path: Path
) -> None:
    run = train(data_with_names, tmp_path / "fitted", "item-cosine")
    service = open_service(run)
    try:
        client = local_client(service)
        lists = Recommender.load(run).recommend(["0", "3"], 4)
        one = client.get("/api/recommendations", params={"user": "0", "k": 4}).json()
        assert one["items"] == [vars(item) for item in lists[0]]
        many = client.post("/api/recommendations", json={"users": ["0", "3"], "k": 4}).json()["rankings"]
        assert [ranking["items"] for ranking in many] == [[vars(item) for item in each] for each in lists]
        scores = client.post("/api/scores", json={"user": "3", "items": [lists[1][0].id]}).json()
        assert scores["items"][0]["score"] == pytest.approx(lists[1][0].score)
        for refused in (
            client.get("/api/similar-items", params={"item": "2"}),
            client.post("/api/recommendations/from-items", json={"items": ["2"]}),
            client.post("/api/recommendations/from-text", json={"text": "a comedy"}),
            client.get("/api/explanations", params={"user": "0", "item": "2"}),
        ):
            assert refused.status_code == 409
            assert "the model is item-cosine" in refused.json()["detail"]
        assert client.get("/ready").status_code == 200
    finally:
        service.close()


def test_the_openapi_page_describes_every_question(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert "/api/explanations" in schema["paths"]
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation["description"], path


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_loads_files_of_this_server_alone(client: TestClient, page: str) -> None:
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', client.get(page).text)
    assert len(loaded) > 3
    for file in loaded:
        assert "//" not in file
        assert client.get(f"/{file}").status_code == 200
