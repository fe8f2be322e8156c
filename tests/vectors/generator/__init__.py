"""Writes the vector files of this folder: `python -m tests.vectors.generator`.

The same input gives the same files, byte for byte: the keys are fixed, and so are all signatures.
"""
