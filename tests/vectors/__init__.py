"""Tokens, requests and key sets with the outcome that every verifier of contract A must come to."""
