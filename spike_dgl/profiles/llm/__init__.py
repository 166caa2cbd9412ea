"""Profiles written by a language model: requests, client, store of answers, and costs."""
