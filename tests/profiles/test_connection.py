"""Addresses, keys, proxies and certificates: connections work, and no secret is shown or stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spike_dgl.config import build
from spike_dgl.errors import ConfigError, LanguageModelError
from spike_dgl.profiles.encoders.openai import OpenAIEncoder
from spike_dgl.profiles.encoders.options import OpenAIEncoderOptions
from spike_dgl.profiles.llm.addresses import PROXY_VARIABLES
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.completion import complete
from spike_dgl.profiles.llm.options import LlmOptions
from spike_dgl.profiles.llm.requests import CompletionOptions
from spike_dgl.profiles.llm.store import Store
from spike_dgl.profiles.options import ProfileOptions
from tests.profiles.llm_requests import KEY, client_of, some_requests
from tests.profiles.openai_server import Call, OpenAIServer, Reply, error

ELSEWHERE = "http://models.example/v1"
PASSWORD = "pass%2Fword-42"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *PROXY_VARIABLES,
        "NO_PROXY",
        "no_proxy",
        "OPENAI_BASE_URL",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost:11434/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://0.0.0.0:8000/v1", True),
        ("http://10.0.0.5/v1", True),
        ("http://192.168.1.7:1234/v1", True),
        ("http://100.64.0.9/v1", True),
        ("http://[fd00::7]/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://ollama:11434/v1", True),
        ("http://gpu.lan/v1", True),
        ("http://printer.local/v1", True),
        ("http://llm.corp/v1", True),
        ("http://host.docker.internal:11434/v1", True),
        ("http://vllm.models.svc.cluster.local/v1", True),
        ("http://nas.home.arpa/v1", True),
        ("http://box.tail1234.ts.net/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://localhost.example.com/v1", False),
        ("https://internal.example.com/v1", False),
        ("http://8.8.8.8/v1", False),
    ],
)
def test_local_addresses(address: str, local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ClientOptions(base_url=address)
    assert options.is_local is local


@pytest.mark.parametrize(
    "address",
    [
        f"https://name:{PASSWORD}@host/v1",
        f"https://{PASSWORD}@host/v1",
        f"https://host/v1?key={PASSWORD}",
        f"https://host/v1#{PASSWORD}",
        f"name:{PASSWORD}@host/v1",
    ],
)
@pytest.mark.parametrize("encoder", [False, True])
def test_an_address_with_a_secret_is_refused_and_never_shown(
    address: str, encoder: bool, monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path
) -> None:
    setting = "profiles.openai.base_url" if encoder else "profiles.llm.client.base_url"
    values = {"openai": {"base_url": address}} if encoder else {"llm": {"client": {"base_url": address}}}
    with pytest.raises(ConfigError) as caught:
        build(ProfileOptions, values, "profiles")
    assert str(caught.value).startswith(setting)
    assert PASSWORD not in str(caught.value)

    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ConfigError) as caught:
        OpenAIEncoder(OpenAIEncoderOptions()).encode(["x"]) if encoder else complete(
            some_requests(1), store, ClientOptions()
        )
    assert str(caught.value).startswith("OPENAI_BASE_URL")
    assert PASSWORD not in str(caught.value)
    assert not any(PASSWORD.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:99999/v1",
        "http://[::1/v1",
        "http://my host/v1",
        '"http://a/v1"',
    ],
)
def test_invalid_addresses_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^profiles\.llm\.client\.base_url .* not the address of a server"):
        build(ClientOptions, {"base_url": address}, "client")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        _ = ClientOptions().address


def test_an_address_of_one_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"base_url=http://a/v1$"):
        ClientOptions(base_url="http://a/v1/chat/completions")


def test_openai_base_url_sets_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", " http://localhost:1/v1\n")
    assert ClientOptions().address == "http://localhost:1/v1"
    assert ClientOptions(base_url="http://localhost:2/v1").address == "http://localhost:2/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert ClientOptions().address == "https://api.openai.com/v1"


def test_the_variable_of_the_environment_is_named_where_its_address_is_wrong(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url.removesuffix("/v1"))
    server.reply = lambda call: error(404, "Not Found")
    with pytest.raises(LanguageModelError, match=f"OPENAI_BASE_URL={server.base_url}"):
        complete(some_requests(1), store, ClientOptions())


def test_a_key_instead_of_its_variable_is_refused_and_not_shown() -> None:
    for options, place in ((ClientOptions, "profiles.llm.client"), (OpenAIEncoderOptions, "profiles.openai")):
        with pytest.raises(ConfigError, match=rf"^{place}\.api_key_variable must be the name") as caught:
            options(api_key_variable=KEY)  # type: ignore[operator]
        assert KEY not in str(caught.value)


def test_a_server_that_needs_no_key_gets_none(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    with OpenAIServer(api_key="no-key") as server:
        assert complete(some_requests(1), store, client_of(server, api_key_variable=None)).is_complete
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY\n.*profiles.llm.client.api_key_variable=null"):
        complete(some_requests(2), store, ClientOptions(base_url=ELSEWHERE))


def sent(server: OpenAIServer, store: Store, client: ClientOptions, **options: object) -> Call:
    calls: list[Call] = []
    server.reply = lambda call: calls.append(call)
    complete(some_requests(1, **options), store, client)
    return calls[0]


def test_settings_that_real_servers_need_reach_them(server: OpenAIServer, store: Store) -> None:
    further = {"chat_template_kwargs": {"enable_thinking": False}}
    options = {"reasoning_effort": "none", "extra_body": further}
    call = sent(server, store, client_of(server, system_role="user"), **options)
    assert call.body["reasoning_effort"] == "none"
    assert call.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert call.body["messages"] == [
        {"role": "user", "content": "You write profiles.\n\nWrite about film 0."}
    ]
    call = sent(server, store, client_of(server, system_role="developer"), seed=7)
    assert [message["role"] for message in call.body["messages"]] == ["developer", "user"]


def test_azure_gets_the_api_version_and_its_header(server: OpenAIServer, store: Store) -> None:
    base_url = server.base_url.removesuffix("/v1") + "/openai"
    call = sent(
        server, store, ClientOptions(base_url=base_url, api_version="2024-10-21"), model="my-deployment"
    )
    assert call.path == "/openai/deployments/my-deployment/chat/completions"
    assert call.query == "api-version=2024-10-21"
    assert call.headers["api-key"] == KEY
    assert "authorization" not in call.headers


def test_further_parameters_are_sent_and_change_the_key() -> None:
    plain, same = some_requests(1)[0], some_requests(1, extra_body={}, reasoning_effort=None)[0]
    assert plain.key == same.key == "0d863287d55f138d8d850626514fd775dc54769ccac475f1d981d181e69e58da"
    one, two = ({"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}})
    assert some_requests(1, extra_body=one)[0].key == some_requests(1, extra_body=two)[0].key != plain.key
    assert some_requests(1, reasoning_effort="low")[0].key != plain.key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 1}, "'seed' is not allowed here"),
        ({"stream": True}, "'stream' is not allowed here"),
        ({"messages": []}, "'messages' is not allowed here"),
        ({"api_key": KEY}, "must not contain a secret"),
    ],
)
def test_further_parameters_must_not_be_reserved_or_secret(values: dict[str, object], message: str) -> None:
    for options, place in ((LlmOptions, "profiles.llm"), (OpenAIEncoderOptions, "profiles.openai")):
        with pytest.raises(ConfigError, match=rf"^{place}\.extra_body.*{message}") as caught:
            build(options, {"extra_body": values}, place)
        assert KEY not in str(caught.value)


def test_a_stage_with_a_model_of_its_own_keeps_all_other_parameters() -> None:
    options = LlmOptions(reasoning_effort="low", top_p=0.5, extra_body={"top_k": 3})
    assert options.completion("item") == CompletionOptions(
        reasoning_effort="low", top_p=0.5, extra_body={"top_k": 3}
    )


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:9", f"socks5://me:{PASSWORD}@127.0.0.1:9", "nonsense://", "http://:99999"]
)
def test_private_hosts_bypass_every_proxy(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    assert complete(some_requests(1), store, client_of(server, max_retries=0)).is_complete


@pytest.mark.parametrize(
    ("name", "proxy", "message"),
    [
        ("ALL_PROXY", f"socks5://me:{PASSWORD}@127.0.0.1:9", "ALL_PROXY has a SOCKS proxy.*socksio"),
        ("all_proxy", "socks5h://127.0.0.1:9", "all_proxy has a SOCKS proxy"),
        ("HTTPS_PROXY", f"socks://me:{PASSWORD}@127.0.0.1:9", "HTTPS_PROXY has a proxy of an unknown kind"),
        ("HTTP_PROXY", f"http://me:{PASSWORD}@proxy:99999", "HTTP_PROXY is not an address"),
        ("http_proxy", f"http://me:{PASSWORD}@", "http_proxy is not an address"),
        (
            "HTTP_PROXY",
            f"http://me:{PASSWORD}@127.0.0.1:9",
            r"no connection: .* through the proxy in HTTP_PROXY",
        ),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, proxy: str, message: str
) -> None:
    monkeypatch.setenv(name, proxy)
    for run in (
        lambda: complete(some_requests(1), store, ClientOptions(base_url=ELSEWHERE, max_retries=0)),
        lambda: OpenAIEncoder(OpenAIEncoderOptions(base_url=ELSEWHERE, max_retries=0)).encode(["x"]),
    ):
        with pytest.raises(
            (ConfigError, LanguageModelError), match=rf"(?s){message}.*NO_PROXY=models\.example"
        ) as caught:
            run()
        assert "word-42" not in str(caught.value)


def test_other_hosts_take_the_proxy(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:{PASSWORD}@127.0.0.1:{server.port}")
    assert complete(some_requests(1), store, ClientOptions(base_url=ELSEWHERE)).is_complete
    assert server.targets == ["http://models.example/v1/chat/completions"]
    server.reply = lambda call: Reply(407, body={})
    with pytest.raises(LanguageModelError, match="HTTP_PROXY=http://NAME") as caught:
        complete(some_requests(2), store, ClientOptions(base_url=ELSEWHERE))
    assert "word-42" not in str(caught.value)


def test_a_proxy_password_is_hidden_where_a_server_repeats_it(
    server: OpenAIServer, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@proxy:3128")
    secrets = ("x" * 280 + f" {KEY} pass/word-42 http://me:{PASSWORD}@proxy {KEY}",)
    body = {"choices": [{"message": {"content": [1]}}], "headers": secrets}
    replies = iter([Reply(body=json.dumps(body).encode()), error(400, secrets[0])])
    server.reply = lambda call: next(replies)
    complete(some_requests(2), store, client_of(server, concurrency=1))
    assert {failure.reason for failure in store.failures()} == {"unreadable", "invalid"}
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    for secret in (KEY[:12], "word-42"):
        assert secret.encode() not in stored


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SSL_CERT_FILE", "which does not exist"),
        ("SSL_CERT_DIR", "which does not exist"),
        ("", "contains no certificates"),
    ],
)
def test_missing_certificates_are_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, message: str
) -> None:
    file = tmp_path / "certificates.pem"
    if not name:
        file.write_text("nothing")
    monkeypatch.setenv(name or "SSL_CERT_FILE", str(file))
    for base_url in ("https://models.example/v1", "https://gpu-box/v1"):
        with pytest.raises(ConfigError, match=rf"(?s){name or 'SSL_CERT_FILE'} is '.*{message}"):
            complete(some_requests(1), store, ClientOptions(base_url=base_url))


def test_http_instead_of_https_is_suggested(server: OpenAIServer, store: Store) -> None:
    client = ClientOptions(base_url=server.base_url.replace("http:", "https:"), max_retries=0)
    with pytest.raises(LanguageModelError, match=r"profiles\.llm\.client\.base_url=http://"):
        complete(some_requests(1), store, client)
