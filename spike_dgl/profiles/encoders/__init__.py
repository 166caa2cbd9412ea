"""Text encoders: from profile paragraphs to vectors.

An encoder has a name and turns texts into vectors. `TfidfSvdEncoder` is fitted on a data set's own texts and
needs nothing else; the others bring what they know along, and their vectors are kept in a `VectorCache`.
"""

from spike_dgl.profiles.encoders.encoder import Encoder
from spike_dgl.profiles.encoders.tfidf import TfidfSvdEncoder

__all__ = ["Encoder", "TfidfSvdEncoder"]
