"""`keys`: the signing keys of the folder. They need no database."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from issuer.commands.command import Commands, add_command, add_subject, show
from issuer.keyring import RingKey, generate_key, load_keyring
from issuer.settings import IssuerSettings


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Register them."""
    keys = add_subject(commands, "keys", "signing keys")
    generate = add_command(keys, "generate", "make a key: current if there is none, else next", _generate)
    generate.add_argument("--if-missing", action="store_true", help="do nothing if there is a current key already")
    add_command(keys, "list", "show kid, state and time of each key", _list)


def _generate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    key = generate_key(settings.keys_dir, datetime.now(UTC), only_first=options.if_missing)
    show(options, [_document(key)])


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, map(_document, load_keyring(settings.keys_dir).keys))


def _document(key: RingKey) -> Mapping[str, Any]:
    return {"kid": key.kid, "state": f"{key.state:<7}", "created_at": key.created_at}
