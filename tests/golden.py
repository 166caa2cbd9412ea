"""Compare SPiKE with golden values: ``python -m tests.golden FILE.npz [FILE.npz ...]``.

Reproduces every array of a file in the format described beside the golden files, in float64 and float32, and
prints the largest error of each. Exits with 1 if one exceeds its bound.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spike_dgl.data.dataset import Dataset, Interactions, Triples, Vocabulary
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike, SpikeOptions
from spike_dgl.nn.losses import bpr_loss

BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-4}
INPUTS = {
    "num_users", "num_items", "num_entities", "num_relations", "profile_scale", "matching_weight", "triples",
    "interactions", "profile_user", "profile_entity", "embedding", "W_Q", "relation_embedding", "batch_user",
    "batch_positive", "batch_negative", "anchors",
}  # fmt: skip

Arrays = dict[str, np.ndarray]


def errors(file: Path, dtype: torch.dtype) -> dict[str, float]:
    """Return the largest error of each array of a golden file, relative to the array's largest value."""
    with np.load(file) as stored:
        golden = {name: stored[name] for name in stored.files}
    computed = compute(golden, dtype)
    expected = {name for name in golden if name not in INPUTS and "projection_" not in name}
    expected |= {name for name in golden if name.startswith("grad_")}
    missing = expected - set(computed)
    if missing:
        raise ValueError(f"{file}: nothing computes {', '.join(sorted(missing))}")
    return {name: _relative_error(golden[name], computed[name]) for name in sorted(expected)}


def compute(golden: Arrays, dtype: torch.dtype) -> Arrays:
    """Compute the outputs of a golden file from its inputs."""
    model = golden_model(golden, dtype)
    states = model.propagate()
    batch = Batch(*(_index(golden[f"batch_{name}"]) for name in ("user", "positive", "negative")))
    users, positives, negatives = (
        states.final[rows]
        for rows in (batch.users, batch.positives + model.num_users, batch.negatives + model.num_users)
    )
    bpr = bpr_loss((users * positives).sum(-1), (users * negatives).sum(-1))
    matching = model.match.on(states, _index(golden["anchors"]))
    (bpr + float(golden["matching_weight"]) * matching).backward()
    outputs = {
        "out_user": states.final[: model.num_users],
        "out_entity": states.final[model.num_users :],
        "bpr_loss": bpr,
        "matching_loss": matching,
        "attention_layer1": states.attention[0][edge_order(golden, model)],
        **golden_edges(golden, model),
    }
    gradients = {f"grad_{name}": parameter.grad for name, parameter in _parameters(model).items()}
    gradients["grad_relation_embedding"] = model.conv.relation_embedding.grad[:-1]
    return {
        name: value.detach().numpy() for name, value in (outputs | gradients).items() if value is not None
    }


def golden_model(golden: Arrays, dtype: torch.dtype) -> Spike:
    """Return SPiKE with the weights of a golden file, in evaluation mode."""
    options = SpikeOptions(
        embedding_dim=golden["embedding"].shape[1],
        profile_scale=float(golden["profile_scale"]),
        matching_weight=float(golden["matching_weight"]),
        profile_gate="constant",
        item_neighbours="kg",
        similar_items=0,
    )
    vectors = (torch.from_numpy(golden[f"profile_{name}"]).to(dtype) for name in ("user", "entity"))
    model = Spike(ModelInputs(build_graph(golden_dataset(golden)), *vectors), options).to(dtype).eval()
    # The last row of our relation embedding belongs to the interactions, which golden files do not attend over.
    weights = {name: golden[name] for name in _parameters(model) if name in golden}
    with torch.no_grad():
        for name, value in weights.items():
            _parameters(model)[name].copy_(torch.from_numpy(value))
        model.conv.relation_embedding[:-1] = torch.from_numpy(golden["relation_embedding"])
    return model


def golden_dataset(golden: Arrays) -> Dataset:
    """Return the random graph of a golden file as a dataset without names."""

    def numbered(kind: str, count: str) -> Vocabulary:
        return Vocabulary(kind, tuple(str(row) for row in range(int(golden[count]))))

    return Dataset(
        name="golden",
        users=numbered("user", "num_users"),
        items=numbered("item", "num_items"),
        entities=numbered("entity", "num_entities"),
        relations=numbered("relation", "num_relations"),
        train=Interactions(*np.ascontiguousarray(golden["interactions"].T)),
        valid=Interactions.empty(),
        test=Interactions.empty(),
        triples=Triples(*np.ascontiguousarray(golden["triples"].T)),
    )


def _parameters(model: Spike) -> dict[str, torch.nn.Parameter]:
    """Return our parameters by their golden names."""
    named = {"embedding": model.embedding, "W_Q": model.conv.query_projection}
    for side in ("user", "entity"):
        projection = getattr(model.inject, f"{side}_projection")
        for number, layer in ((0, projection.hidden), (3, projection.output)):
            for part in ("weight", "bias"):
                named[f"{side}_projection_{number}_{part}"] = getattr(layer, part)
    return named


def edges(model: Spike) -> dict[str, Tensor]:
    """Return head, tail and relation [2T] of the attended edges, with entities counted from 0."""
    messages = model.views.messages
    tails = messages.src - model.num_users
    return {"edge_head": messages.attended.dst, "edge_tail": tails, "edge_relation": messages.relation}


def edge_order(golden: Arrays, model: Spike) -> Tensor:
    """Return the position of our edge for each edge of the golden file."""
    keys = ("edge_tail", "edge_relation", "edge_head")
    ours = np.lexsort([edges(model)[key].numpy() for key in keys])
    theirs = np.lexsort([golden[key] for key in keys])
    position = np.empty_like(ours)
    position[theirs] = ours
    return torch.from_numpy(position)


def golden_edges(golden: Arrays, model: Spike) -> dict[str, Tensor]:
    """Return our edges in the order of the golden file's."""
    order = edge_order(golden, model)
    return {name: values[order] for name, values in edges(model).items()}


def _index(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


def _relative_error(expected: np.ndarray, computed: np.ndarray) -> float:
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-12)
    return float(np.abs(expected - computed).max(initial=0.0)) / scale


def main(files: list[str]) -> int:
    """Print the errors of each file in both precisions; return 1 if one exceeds its bound."""
    if not files:
        print(__doc__)
        return 2
    worst = 0
    for file in files:
        for dtype, bound in BOUNDS.items():
            print(f"{file}, {str(dtype).removeprefix('torch.')}, bound {bound:.0e}")
            for name, error in errors(Path(file), dtype).items():
                failed = not error <= bound
                worst |= failed
                print(f"  {name:36s} {error:.1e}{'  FAILED' if failed else ''}")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
