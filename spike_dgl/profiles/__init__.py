"""Profiles: a paragraph of text about each user and entity, and its text vector."""

from spike_dgl.profiles.build import build_profiles
from spike_dgl.profiles.encoders import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import Profiles

__all__ = ["Encoder", "ProfileOptions", "Profiles", "TfidfSvdEncoder", "build_profiles"]
