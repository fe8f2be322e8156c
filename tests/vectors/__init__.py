"""Tokens, requests and key sets with the required outcome for every verifier of contract A."""
