"""`keys`: the signing keys and MAC secrets of the folder. They need no database."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from issuer.cli.output import Commands, add_command, add_subject, show
from issuer.errors import KeyringError
from issuer.keys.mac_secrets import SecretEntry
from issuer.keys.manager import KeyFolder
from issuer.keys.models import KeyState, RingKey, key_in_state
from issuer.keys.rotation import Schedule, Step
from issuer.keys.store import load_keyring
from issuer.settings import IssuerSettings

_PROTECTION: Final = {True: "encrypted", False: "plain", None: None}


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Register them."""
    keys = add_subject(commands, "keys", "signing keys")
    generate = add_command(keys, "generate", "make a key: current if there is none, else next", _generate)
    generate.add_argument("--if-missing", action="store_true", help="do nothing if there is a current key already")
    listing = add_command(keys, "list", "show the keys: kid, state, since when, when it moves on, protection", _list)
    listing.add_argument("--mac-secrets", action="store_true", help="show the MAC secrets instead, without values")
    add_command(keys, "rotate", "make a next key, or let the one there is sign", _rotate)
    revoke = add_command(keys, "revoke", "drop a key or MAC secret that leaked, everywhere at once", _revoke)
    revoke.add_argument("name", help="the kid, or the id of the MAC secret")
    add_command(keys, "tick", "do what is due: promote, drop, make the next key", _tick)
    add_command(keys, "renew-secret", "make a MAC secret, current a minute later", _renew_secret)
    rewrap = add_command(keys, "rewrap", "encrypt everything with ISSUER_KEYS_PASSPHRASE, or without", _rewrap)
    rewrap.add_argument("--old-passphrase-file", type=Path, help="opens what was encrypted with another passphrase")


def _generate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    folder = _folder(settings)
    show(options, [_key(folder, folder.generate(only_first=options.if_missing))])


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    folder = _folder(settings)
    if options.mac_secrets:
        show(options, map(_secret, folder.mac_secrets()))
        return
    # What an issuer would refuse is refused here too: this is how an operator learns of it.
    show(options, (_key(folder, key) for key in load_keyring(settings.keys_dir, settings.passphrase()).keys))


def _rotate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    folder = _folder(settings)
    _show_steps(options, folder.rotate())
    following = key_in_state(folder.read(), KeyState.NEXT)
    if following is not None:
        _say(
            f"{following.kid} may sign from {_due_at(folder, following)}: run this again, or leave it to `keys tick`"
        )


def _revoke(settings: IssuerSettings, options: argparse.Namespace) -> None:
    folder = _folder(settings)
    steps = folder.revoke(options.name)
    _show_steps(options, steps)
    replaced = {step.name for step in steps if step.done in {"made", "promoted"}}
    for key in folder.read():
        earliest = key.created_at + folder.schedule.publish_delay
        if key.kid in replaced and key.activated_at is not None and key.activated_at < earliest:
            until = earliest.isoformat(timespec="seconds")
            _say(f"warning: {key.kid} signs at once: until {until} a verifier may not know it and refuse good tokens")


def _tick(settings: IssuerSettings, options: argparse.Namespace) -> None:
    _show_steps(options, _folder(settings).tick())


def _renew_secret(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_secret(_folder(settings).renew_secret())])


def _rewrap(settings: IssuerSettings, options: argparse.Namespace) -> None:
    _show_steps(options, _folder(settings).rewrap(_old_passphrase(options.old_passphrase_file)))


def _old_passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error


def _folder(settings: IssuerSettings) -> KeyFolder:
    schedule = Schedule.of(settings.jwks_max_age_seconds, settings.key_rotation_days)
    return KeyFolder(settings.keys_dir, schedule, lambda: datetime.now(UTC), settings.passphrase())


def _show_steps(options: argparse.Namespace, steps: Iterable[Step]) -> None:
    show(options, ({"name": step.name, "done": step.done} for step in steps))


def _key(folder: KeyFolder, key: RingKey) -> Mapping[str, Any]:
    return {
        "kid": key.kid,
        "state": key.state,
        "created_at": key.created_at,
        "due_at": folder.schedule.due_at(key),
        "private": _PROTECTION[folder.is_encrypted(key)],
    }


def _secret(entry: SecretEntry) -> Mapping[str, Any]:
    return {"id": entry.name, "state": entry.state, "created_at": entry.created_at, "retired_at": entry.retired_at}


def _due_at(folder: KeyFolder, key: RingKey) -> str:
    due_at = folder.schedule.due_at(key)
    return due_at.isoformat(timespec="seconds") if due_at else "never"


def _say(line: str) -> None:
    """To the operator, beside what a program reads."""
    print(line, file=sys.stderr)
