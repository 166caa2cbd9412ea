from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spike_dgl.nn.layers.knowledge_diffusion import KnowledgeDiffusion

N, H = 9, 3
VARIANCES = torch.tensor([0.1, 0.3, 0.5])
CPU = torch.device("cpu")


def both_ways(pairs: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    one, other = torch.tensor(pairs).T
    return torch.cat([one, other]), torch.cat([other, one])


# 0 and 1 are linked by two relations; 8 has no link.
HEADS, TAILS = both_ways([(0, 1), (0, 1), (0, 2), (1, 3), (4, 5), (5, 6), (6, 7), (4, 7)])


def build(hidden_dim: int = H) -> KnowledgeDiffusion:
    torch.manual_seed(0)
    model = KnowledgeDiffusion(HEADS, TAILS, N, hidden_dim=hidden_dim, noise_variances=VARIANCES, device=CPU)
    torch.nn.init.normal_(model.step_embedding)
    return model.double()


def adjacency() -> Tensor:
    matrix = torch.zeros(N, N, dtype=torch.float64)
    matrix[HEADS, TAILS] = 1.0
    return matrix


def dense_hidden(model: KnowledgeDiffusion, x: Tensor, step: Tensor) -> Tensor:
    variance = VARIANCES.double()[step].unsqueeze(-1)
    length = ((1 - variance) * adjacency().sum(1, keepdim=True)[: len(x)] + variance * N).sqrt()
    hidden = torch.tanh(x @ model.reading / length + model.step_embedding[step])
    return torch.cat([hidden, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)


def test_the_loss_is_that_over_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = build(), torch.arange(N)
    noise = torch.randn(N, N, dtype=torch.float64)
    monkeypatch.setattr(model, "_noise", lambda number: (noise @ model.reading)[:number])
    torch.manual_seed(3)
    error, hidden = model.denoise(rows)

    torch.manual_seed(3)
    step = torch.randint(3, (N,))
    variance = VARIANCES.double()[step].unsqueeze(-1)
    x = (1 - variance).sqrt() * adjacency() + variance.sqrt() * noise
    expected_hidden = dense_hidden(model, x, step)
    estimate = expected_hidden @ model.writing.T
    ratio = (1 - VARIANCES.double()) / VARIANCES.double()
    weight = torch.stack([torch.ones_like(ratio[0]), ratio[0] - ratio[1], ratio[1] - ratio[2]])[step]
    expected = weight * (estimate - adjacency()).square().mean(1)
    torch.testing.assert_close(hidden, expected_hidden)
    torch.testing.assert_close(error, expected, rtol=1e-5, atol=1e-6)

    inputs = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(error.sum(), inputs),
        torch.autograd.grad(expected.sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)

    values = torch.randn(4, 2, dtype=torch.float64)
    torch.testing.assert_close(model.written(hidden, values), estimate[:, :4] @ values)


def test_noise_is_that_of_a_whole_row() -> None:
    model = build()
    noise = model._noise(100_000).detach()
    expected = (model.reading.T @ model.reading).detach()
    torch.testing.assert_close(noise.T @ noise / len(noise), expected, rtol=0.05, atol=0.01)


def test_noise_of_more_hidden_units_than_entities_is_finite() -> None:
    assert build(hidden_dim=4 * N)._noise(10).isfinite().all()


def test_scores_are_those_of_the_whole_chain() -> None:
    model, x = build(), adjacency()
    kept = torch.cat([torch.ones(1), 1 - VARIANCES]).double()  # of x_0, in x_0 to x_T
    for step in (2, 1, 0):
        hidden = dense_hidden(model, x, torch.full((N,), step))
        now, before = kept[step + 1], kept[step]
        x = (
            before.sqrt() * (1 - now / before) * (hidden @ model.writing.T)
            + (now / before).sqrt() * (1 - before) * x
        ) / (1 - now)
    torch.testing.assert_close(model.scores(), x[model.head, model.tail].detach(), rtol=1e-5, atol=1e-6)


def test_a_link_of_two_relations_keeps_both_edges_in_both_directions() -> None:
    model = build()
    links = list(zip(model.head.tolist(), model.tail.tolist(), strict=True))
    assert len(links) == 14
    liked = {(0, 1), (1, 0), (2, 0), (3, 1), (4, 5), (5, 6), (6, 7), (7, 6)}
    scores = torch.tensor([float(link in liked) for link in links])
    kept = model.highest_edges(scores, 1)
    edges = set(zip(HEADS[kept].tolist(), TAILS[kept].tolist(), strict=True))
    assert edges == liked | {(0, 2), (1, 3), (5, 4), (6, 5)}
    assert kept.sum() == 2 * 2 + 10


def test_all_links_are_kept_where_all_are_among_the_highest() -> None:
    model = build()
    assert model.highest_edges(model.scores(), N).all()


def test_rows_are_sampled_from_entities_with_links() -> None:
    model = build()
    assert sorted(model.sample_rows(100).tolist()) == list(range(8))
    assert len(model.sample_rows(5)) == 5


def test_what_does_not_belong_is_expected_least() -> None:
    # Two full blocks of four, and one link between them.
    blocks = [(i, j) for first in (0, 4) for i in range(first, first + 4) for j in range(i, first + 4)]
    heads, tails = both_ways([*blocks, (0, 4)])
    torch.manual_seed(0)
    model = KnowledgeDiffusion(heads, tails, 8, hidden_dim=4, noise_variances=0.1 * VARIANCES, device=CPU)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(100):
        optimizer.zero_grad()
        model.denoise(model.sample_rows(8))[0].mean().backward()
        optimizer.step()
    kept = model.highest_edges(model.scores(), 4)
    left_out = {
        tuple(sorted(pair)) for pair in zip(heads[~kept].tolist(), tails[~kept].tolist(), strict=True)
    }
    assert left_out == {(0, 4)}
