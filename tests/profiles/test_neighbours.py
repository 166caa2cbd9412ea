from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Triples
from spike_dgl.profiles.neighbours import (
    PATHS,
    Neighbours,
    as_lists,
    favourite_attributes,
    histories,
    neighbours_of,
    related_entities,
)
from tests.profiles.films import (
    ALI,
    BIRTH,
    CHICAGO,
    DIRECTED,
    DRAMA,
    FISH,
    GENRE,
    HEAT,
    MANN,
    SMITH,
    STARRING,
    films,
    interactions,
)

R = 4


def film_neighbours() -> Neighbours:
    return neighbours_of(films().triples, 7, R)


def facts_of(neighbours: Neighbours, entity: int) -> list[tuple[int, int]]:
    place = slice(*neighbours.offsets[entity : entity + 2])
    return list(zip(neighbours.relations[place].tolist(), neighbours.nodes[place].tolist(), strict=True))


def test_rare_neighbours_come_first_and_neighbours_without_other_links_last() -> None:
    """Drama and Mann occur in three facts each, so the relation decides; Smith in one."""
    assert facts_of(film_neighbours(), ALI) == [(DIRECTED, MANN), (GENRE, DRAMA), (STARRING, SMITH)]


def test_facts_have_both_directions_and_no_self_loops() -> None:
    neighbours = film_neighbours()
    assert facts_of(neighbours, CHICAGO) == [(BIRTH + R, MANN)]
    # Heat occurs in two facts, Ali in three, Big Fish in this one only.
    assert facts_of(neighbours, DRAMA) == [(GENRE + R, HEAT), (GENRE + R, ALI), (GENRE + R, FISH)]


def test_limits_per_row_and_relation() -> None:
    neighbours = film_neighbours()
    assert facts_of(neighbours.first(2), MANN) == [(DIRECTED + R, HEAT), (DIRECTED + R, ALI)]
    kept = neighbours.first_of_each_relation(1)
    assert facts_of(kept, MANN) == [(DIRECTED + R, HEAT), (BIRTH, CHICAGO)]
    assert facts_of(kept, ALI) == facts_of(neighbours, ALI)
    assert facts_of(neighbours.below(3), MANN) == [(DIRECTED + R, HEAT), (DIRECTED + R, ALI)]


triples = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=40
).map(lambda rows: Triples.from_rows(np.array(rows)))


@given(triples, st.integers(1, 4))
def test_limits_equal_the_reference_implementation(triples: Triples, limit: int) -> None:
    neighbours = neighbours_of(triples, 7, 3)
    first, of_each = neighbours.first(limit), neighbours.first_of_each_relation(limit)
    for entity in range(7):
        facts = facts_of(neighbours, entity)
        assert facts_of(first, entity) == facts[:limit]
        places = [Counter(r for r, _ in facts[:at])[relation] for at, (relation, _) in enumerate(facts)]
        expected = [fact for fact, place in zip(facts, places, strict=True) if place < limit]
        assert facts_of(of_each, entity) == expected


@given(triples)
def test_related_entities_equal_the_reference_implementation(triples: Triples) -> None:
    neighbours = neighbours_of(triples, 7, 3)
    followed = neighbours.first(PATHS)
    for entity, related in enumerate(related_entities(neighbours, 7, limit=3)):
        weights: dict[int, float] = {}
        for _, middle in facts_of(followed, entity):
            for _, end in facts_of(followed, middle):
                weights[end] = weights.get(end, 0.0) + 1 / len(facts_of(neighbours, middle))
        weights.pop(entity, None)
        assert len(set(related)) == len(related)
        assert [weights[end] for end in related] == pytest.approx(sorted(weights.values(), reverse=True)[:3])


def test_entities_related_through_rare_ones_come_first() -> None:
    """Heat reaches Ali over Mann (1/3) and Drama (1/3), Chicago over Mann and Big Fish over Drama (1/3 each)."""
    assert related_entities(film_neighbours(), 3, limit=9)[HEAT] == [ALI, FISH, CHICAGO]
    assert related_entities(film_neighbours(), 3, limit=1)[HEAT] == [ALI]


def test_a_hub_is_followed_a_bounded_number_of_times() -> None:
    """Check a thousand items with one genre: there are not a million paths, and each item has related items."""
    rows = np.stack([np.arange(1000), np.zeros(1000), np.full(1000, 1000)], axis=1)
    neighbours = neighbours_of(Triples.from_rows(rows), 1001, 1)
    related = related_entities(neighbours, 1000, limit=50)
    assert {len(found) for found in related} == {PATHS, PATHS - 1}


def test_favourite_attributes_are_the_most_frequent() -> None:
    favourites = favourite_attributes(
        film_neighbours(), interactions([(0, HEAT), (0, ALI), (2, FISH)]), 3, limit=2
    )
    assert favourites == [[MANN, DRAMA], [], [DRAMA]]


def test_histories_list_rare_items_first() -> None:
    train = interactions([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)])
    assert histories(train, 4, 3) == [[2, 1, 0], [0], [1, 0], []]


def test_rows_as_lists() -> None:
    assert as_lists(np.array([0, 2, 2, 3]), np.array([5, 6, 7])) == [[5, 6], [], [7]]
