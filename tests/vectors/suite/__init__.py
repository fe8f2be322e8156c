"""Sends the vectors to an endpoint that decides about access tokens, and reports what it decides wrongly.

`python -m tests.vectors URL`. README.md says what the endpoint must be given.
"""
