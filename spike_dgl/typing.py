"""Array aliases, and the glossary of shapes that every docstring of the package uses.

====== =====================================================================================
letter meaning
====== =====================================================================================
U      users
I      items; they are the first I entities
N      entities: items, then auxiliary entities (actors, genres, ...)
R      relations of the dataset; with their inverses 2R
T      triples (head, relation, tail)
X      interactions (user, item)
E      directed edges of the graph that messages are sent along
P      distinct (src node, relation) pairs among those edges
B      batch
H      attention heads
D      embedding dimension; d_k = D / H is the dimension of a head
d_t    dimension of a profile's text vector
K      length of a recommendation list
====== =====================================================================================

Row indices are int64 and count from 0. Raw ids are strings; they are used only in files, on the command line and in
`spike_dgl.data.dataset.Vocabulary`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IndexArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
