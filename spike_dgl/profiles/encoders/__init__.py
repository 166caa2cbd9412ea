"""Text encoders for profiles.

An encoder has a name and encodes texts as vectors. `TfidfSvdEncoder` is fitted on the texts of a data set. The others
are pretrained, and their vectors are stored in a `VectorCache`.
"""

from spike_dgl.profiles.encoders.encoder import Encoder
from spike_dgl.profiles.encoders.tfidf import TfidfSvdEncoder

__all__ = ["Encoder", "TfidfSvdEncoder"]
