"""`keys`: the signing keys and MAC secrets of the key directory. These commands use no database."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from issuer.cli.output import Commands, add_command, add_subject, show
from issuer.errors import KeyStoreError
from issuer.keys.mac_secrets import MacSecretRecord
from issuer.keys.manager import KeyManager
from issuer.keys.models import KeyRecord, KeyState, in_state
from issuer.keys.rotation import KeyTransition, RotationPolicy
from issuer.keys.store import load_key_set
from issuer.settings import IssuerSettings

_PROTECTION: Final = {True: "encrypted", False: "plain", None: None}


def add(commands: Commands) -> None:
    """Register the commands."""
    keys = add_subject(commands, "keys", "signing keys")
    generate = add_command(
        keys, "generate", "create a key: current if there is none, otherwise next", _generate, "--if-missing"
    )
    generate.add_argument("--if-missing", action="store_true", help="do nothing if there is a current key")
    listing = add_command(keys, "list", "list keys: kid, state, created, next transition, encryption", _list)
    listing.add_argument(
        "--mac-secrets", action="store_true", help="list the MAC secrets instead, without their values"
    )
    add_command(keys, "rotate", "create the next key, or promote it if it exists", _rotate)
    revoke = add_command(
        keys, "revoke", "remove a leaked key or MAC secret at once", _revoke, "Zz8Q3kJ0vX1sKc6cG2m9nQ"
    )
    revoke.add_argument("name", help="kid of the key, or id of the MAC secret")
    add_command(keys, "advance", "perform due transitions: promote, retire, remove or create keys", _advance)
    add_command(
        keys, "rotate-mac-secret", "create the next MAC secret, which `keys advance` promotes", _rotate_mac_secret
    )
    rewrap = add_command(
        keys,
        "rewrap",
        "encrypt all private files with ISSUER_KEYS_PASSPHRASE_FILE; decrypt them if unset",
        _rewrap,
        "--old-passphrase-file old-passphrase.txt",
    )
    rewrap.add_argument("--old-passphrase-file", type=Path, help="file with the passphrase that opens the files now")


def _generate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    manager = _manager(settings)
    show(options, [_key(manager, manager.generate(only_first=options.if_missing))])


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    manager = _manager(settings)
    if options.mac_secrets:
        show(options, map(_secret, manager.mac_secrets()))
        return
    # Load the key set as an issuer does, so that operators see its errors here.
    show(options, (_key(manager, key) for key in load_key_set(settings.keys_dir, settings.passphrase()).keys))


def _rotate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    manager = _manager(settings)
    _show_transitions(options, manager.rotate())
    next_key = in_state(manager.read(), KeyState.NEXT)
    if next_key is not None:
        due = (next_key.created_at + manager.policy.publish_delay).isoformat(timespec="seconds")
        print(f"{next_key.kid} can be promoted from {due}: run this again or `keys advance` then", file=sys.stderr)


def _revoke(settings: IssuerSettings, options: argparse.Namespace) -> None:
    manager = _manager(settings)
    transitions = manager.revoke(options.name)
    _show_transitions(options, transitions)
    replaced = {transition.name for transition in transitions if transition.action in {"created", "promoted"}}
    for key in manager.read():
        earliest = key.created_at + manager.policy.publish_delay
        if key.kid in replaced and key.activated_at is not None and key.activated_at < earliest:
            until = earliest.isoformat(timespec="seconds")
            print(
                f"warning: {key.kid} signs at once; "
                f"until {until} verifiers may not have fetched it and reject valid tokens",
                file=sys.stderr,
            )


def _advance(settings: IssuerSettings, options: argparse.Namespace) -> None:
    _show_transitions(options, _manager(settings).advance())


def _rotate_mac_secret(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_secret(_manager(settings).rotate_mac_secret())])


def _rewrap(settings: IssuerSettings, options: argparse.Namespace) -> None:
    _show_transitions(options, _manager(settings).rewrap(_old_passphrase(options.old_passphrase_file)))


def _old_passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise KeyStoreError(f"{path}: cannot be read ({error.strerror})") from error


def _manager(settings: IssuerSettings) -> KeyManager:
    policy = RotationPolicy(settings.jwks_max_age_seconds, settings.key_rotation_days)
    return KeyManager(settings.keys_dir, policy, lambda: datetime.now(UTC), settings.passphrase())


def _show_transitions(options: argparse.Namespace, transitions: Iterable[KeyTransition]) -> None:
    show(options, ({"name": transition.name, "action": transition.action} for transition in transitions))


def _key(manager: KeyManager, key: KeyRecord) -> Mapping[str, Any]:
    return {
        "kid": key.kid,
        "state": key.state,
        "created_at": key.created_at,
        "due_at": manager.policy.due_at(key),
        "private": _PROTECTION[manager.is_encrypted(key)],
    }


def _secret(record: MacSecretRecord) -> Mapping[str, Any]:
    return {
        "id": record.name,
        "state": record.state,
        "created_at": record.created_at,
        "retired_at": record.retired_at,
    }
