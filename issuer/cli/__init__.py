"""The operator's commands, one module for each subject; `issuer/__main__.py` joins them.

Each module has `add(commands)`, which registers its commands with what runs them. A command prints what it
found or did through `command.show`: a line for each thing, or with `--json` one JSON document a line.
"""
