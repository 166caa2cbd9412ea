"""Explanations as text."""

from __future__ import annotations

from spike_dgl.explain.explanation import Explanation, Fidelity, Link, Node, Over, Path
from spike_dgl.profiles.facts import readable
from spike_dgl.profiles.facts import sentence as fact_sentence


def path_sentence(nodes: tuple[Node, ...], links: tuple[Link, ...]) -> str:
    """Describe a path, link by link, starting from the user's history."""
    if len(nodes) == 2:
        return f"{readable(nodes[1].name)} is in the user's history."
    sentences = [f"The user's history has {readable(nodes[1].name)}."]
    place = 1
    while place < len(links):
        before, after = nodes[place], nodes[place + 1]
        if after.kind == "user":
            sentences.append(
                f"Another user with {readable(before.name)} in the history also has {readable(nodes[place + 2].name)}."
            )
            place += 2
            continue
        head, tail = (before, after) if links[place].forward else (after, before)
        sentences.append(
            fact_sentence(head.name, links[place].relation, tail.name, inverse=not links[place].forward)
        )
        place += 1
    return " ".join(sentences)


def summary(user: Node, item: Node, paths: tuple[Path, ...], over: Over) -> str:
    """Summarise an explanation in one or two sentences."""
    if not paths:
        none = f"No path of the graph leads from {user.name} to {readable(item.name)}"
        return (
            f"{none} over facts."
            if over == "facts"
            else f"{none}; the score comes from their embeddings only."
        )
    reason = "strongest reason among facts" if over == "facts" else "strongest reason"
    return f"{readable(item.name)} for user {user.name}, {reason}: {paths[0].sentence}"


def to_text(explanation: Explanation) -> str:
    """Render an explanation for the terminal."""
    parts = ", ".join(f"{name} {part:+.3f}" for name, part in explanation.parts.by_name().items())
    kind = "paths over facts" if explanation.over == "facts" else "paths"
    lines = [
        explanation.sentence,
        "",
        f"score {explanation.score:.3f} = {parts}",
        f"{len(explanation.paths)} of {explanation.num_paths} {kind}, over different nodes, whose removal lowers the "
        "score most",
    ]
    for number, path in enumerate(explanation.paths, start=1):
        lines += ["", f"{number}. {path.sentence}", f"   {_fidelity(path.fidelity)}"]
        lines += [
            f"   {_link(before, link, after)}"
            for before, link, after in zip(path.nodes, path.links, path.nodes[1:], strict=False)
        ]
        lines += [f"   {bridge.name}: {bridge.profile}" for bridge in path.bridges if bridge.profile]
    return "\n".join(lines)


def _fidelity(fidelity: Fidelity) -> str:
    drop = f"removing it lowers the score by {fidelity.drop:.3f}"
    if fidelity.random_drop is None:
        return drop
    random = f"removing a random path of the same length by {fidelity.random_drop:.3f}"
    return f"{drop}; {random} (mean of {fidelity.random_paths})"


def _link(before: Node, link: Link, after: Node) -> str:
    arrow = "<-" if link.towards == "user" else "->"
    weights = ", ".join(
        f"{weight:.3f} ({weight - bare:+.3f} by profiles)"
        for weight, bare in zip(link.attention, link.attention_without_profiles, strict=True)
    )
    return f"{before.name} {arrow} {link.relation} {arrow} {after.name}, hop {link.hop}, weights {weights}"
