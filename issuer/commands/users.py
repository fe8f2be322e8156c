"""`users`: the accounts."""

import argparse

from issuer.commands.command import Commands, add_subject
from issuer.commands.user_import import add_import


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Register them."""
    users = add_subject(commands, "users", "accounts")
    add_import(users)
