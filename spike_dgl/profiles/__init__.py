"""Profiles: a paragraph about every user and entity, and its text vector."""

from spike_dgl.profiles.build import Profiles, build_profiles
from spike_dgl.profiles.encoders import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.options import ProfileOptions

__all__ = ["Encoder", "ProfileOptions", "Profiles", "TfidfSvdEncoder", "build_profiles"]
