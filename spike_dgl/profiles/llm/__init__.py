"""Profiles written by a language model: requests, the store of answers, what they cost, and the client."""
