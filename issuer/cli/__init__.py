"""The operator's commands, one module for each subject; `issuer/__main__.py` joins them.

Each module has `add(commands)`, which registers its commands with the functions that run them. A command prints its
results by `output.show`: one line for each, or with `--json` one JSON document per line.
"""
