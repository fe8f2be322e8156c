"""What may be done to the keys folder: by one writer at a time, each time from a ring that was just read."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from issuer.errors import KeyringError
from issuer.keys.atomic_files import delete, sole_writer, sweep
from issuer.keys.mac_secrets import (
    SecretEntries,
    SecretEntry,
    add_secret,
    advance_secrets,
    drop_secret,
    new_secret,
    read_mac_secrets,
    waiting_secret,
)
from issuer.keys.models import KeyState, Ring, RingKey, key_in_state, read_ring, ring_file
from issuer.keys.private_files import read_private
from issuer.keys.rotation import (
    Schedule,
    Step,
    add_key,
    drop_dead,
    drop_key,
    promote,
    steps_between,
    wants_successor,
)
from issuer.keys.store import is_encrypted, new_private, private_file, public_file
from issuer.keys.writes import is_left, rewrap_key, rewrap_secrets, store_ring, store_secrets

_NONE: Final[Mapping[str, RSAPrivateKey]] = MappingProxyType({})
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""A thumbprint, which may become part of a path."""


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The folder, and everything that may be done to it.

    Args:
        path: made by `generate` if it does not exist.
        schedule: when keys may move on.
        now: the clock, asked under the lock: waiting for another writer makes no key older.
        passphrase: encrypts and opens what is private.
    """

    path: Path
    schedule: Schedule
    now: Callable[[], datetime]
    passphrase: bytes | None = field(default=None, repr=False)

    def read(self) -> Ring:
        """The ring as it is now, without its private halves.

        Raises:
            KeyringError: there is something that is no ring.
        """
        return read_ring(self.path)

    def mac_secrets(self) -> SecretEntries:
        """The MAC secrets.

        Raises:
            KeyringError: they cannot be read.
        """
        return read_mac_secrets(self.path, self.passphrase)

    def is_writable(self) -> bool:
        """Whether this process may change it.

        Raises:
            KeyringError: there are no keys in it. That is no reason to leave the work to others.
        """
        self._read_keys()
        folders = (ring_file(self.path).parent, public_file(self.path).parent)
        return all(os.access(folder, os.W_OK | os.X_OK) for folder in folders)

    def is_encrypted(self, key: RingKey) -> bool | None:
        """How the private half lies there; None if it is gone.

        Raises:
            KeyringError: it cannot be read.
        """
        try:
            return is_encrypted(read_private(private_file(self.path, key.kid)))
        except FileNotFoundError:
            return None

    def generate(self, *, only_first: bool = False) -> RingKey:
        """Make a key and publish it: current if there is none, else next. There is one next at most.

        Args:
            only_first: make none where a current key is.

        Returns:
            The key that was made, or the one for whose sake none was.

        Raises:
            KeyringError: the folder cannot be used.
        """
        with self._writing(create=True):
            self._supply_secret()
            ring = self.read()
            current, following = key_in_state(ring, KeyState.CURRENT), key_in_state(ring, KeyState.NEXT)
            present = current if only_first else current and following
            return present or self._store_new(ring)[-1]

    def rotate(self) -> tuple[Step, ...]:
        """What an operator asks for: make a next key, or if there is one, let it sign.

        Raises:
            KeyringError: verifiers may not know it yet, and how long to wait; or the folder cannot be used.
        """
        with self._writing():
            ring = self.read()
            following = key_in_state(ring, KeyState.NEXT)
            if following is None:
                return steps_between(ring, self._store_new(ring))
            self._check_age(following)
            return self._store(ring, promote(ring, self.now()))

    def revoke(self, name: str) -> tuple[Step, ...]:
        """Drop a key or a MAC secret everywhere at once, because it may be in other hands.

        Another takes its place at once, however young: tokens that are refused for a while are better than
        tokens that anybody can make. Asked again after a crash it finishes.

        Raises:
            KeyringError: there is none of that name, or the folder cannot be used.
        """
        with self._writing():
            entries = self.mac_secrets()
            if any(entry.secret.id == name for entry in entries):
                replacement = new_secret(secrets.token_bytes)
                return self._store_secrets(entries, drop_secret(entries, name, replacement, self.now()))
            if not _KID.fullmatch(name) or not self._is_known(name):
                raise KeyringError(f"{self.path}: no key or MAC secret of that name: see `keys list`")
            steps = self._replace(self.read(), name)
            # Also where a crash took the key from the ring before its file.
            delete(private_file(self.path, name))
            return steps

    def tick(self, *, wait: bool = True) -> tuple[Step, ...]:
        """Do whatever is due, and nothing else. Safe at any time, from anywhere, any number at once.

        Args:
            wait: for other writers; else leave it to them.

        Raises:
            KeyringError: there are no keys, or the folder cannot be used.
        """
        # Before the lock, which is a file: nothing at all may be written into an empty mount point.
        self._read_keys()
        with self._writing(wait=wait) as held:
            if not held:
                return ()
            ring = self._read_keys()
            after = drop_dead(ring, self.schedule, self.now())
            following = key_in_state(after, KeyState.NEXT)
            if following is not None and self.schedule.is_due(following, self.now()):
                after = promote(after, self.now())
            steps = self._store(ring, after)
            if wants_successor(after, self.schedule, self.now()):
                steps += steps_between(after, self._store_new(after))
            entries = self.mac_secrets()
            return steps + self._store_secrets(entries, advance_secrets(entries, self.now()))

    def renew_secret(self) -> SecretEntry:
        """Make a MAC secret, which `tick` makes the current one once every issuer knows it. One waits at most.

        Raises:
            KeyringError: the folder cannot be used.
        """
        with self._writing():
            self._supply_secret()
            entries = self.mac_secrets()
            waiting = waiting_secret(entries)
            if waiting is None:
                after = add_secret(entries, new_secret(secrets.token_bytes), self.now())
                self._store_secrets(entries, after)
                waiting = waiting_secret(after)
            assert waiting is not None
            return waiting

    def rewrap(self, old_passphrase: bytes | None) -> tuple[Step, ...]:
        """Encrypt everything with the passphrase, or nothing if there is none. Finishes what broke off.

        Args:
            old_passphrase: opens what the present one does not.

        Raises:
            KeyringError: neither opens it, or the folder cannot be used.
        """
        with self._writing():
            ring = self.read()
            names = [key.kid for key in ring if rewrap_key(self.path, key, old_passphrase, self.passphrase)]
            names += rewrap_secrets(self.path, old_passphrase, self.passphrase)
        return tuple(Step("rewrapped", name) for name in names)

    @contextmanager
    def _writing(self, *, create: bool = False, wait: bool = True) -> Iterator[bool]:
        """The lock, and one line for whatever the disk says. False: another has it, and we do not wait."""
        private_dir, public_dir = ring_file(self.path).parent, public_file(self.path).parent
        try:
            if create:
                private_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                public_dir.mkdir(mode=0o755, exist_ok=True)
            with sole_writer(private_dir, wait=wait) as held:
                if held:
                    sweep(private_dir)
                    sweep(public_dir)
                yield held
        except FileNotFoundError as error:
            raise KeyringError(f"{self.path}: no keys here: run `keys generate`") from error
        except OSError as error:
            raise KeyringError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _store_new(self, ring: Ring) -> Ring:
        """The ring with a new key, stored. The key's age counts from when it is ready to be published."""
        private = new_private()
        after = add_key(ring, private.public_key(), self.now())
        self._store(ring, after, {after[-1].kid: private})
        return after

    def _replace(self, ring: Ring, kid: str) -> tuple[Step, ...]:
        """Without that key; if none is left that signs, the next one does, or a new one."""
        after = drop_key(ring, kid)
        if key_in_state(after, KeyState.CURRENT) is not None:
            return self._store(ring, after)
        if key_in_state(after, KeyState.NEXT) is not None:
            return self._store(ring, promote(after, self.now()))
        private = new_private()
        after = add_key(after, private.public_key(), self.now())
        return self._store(ring, after, {after[-1].kid: private})

    def _check_age(self, key: RingKey) -> None:
        now, due_at = self.now(), self.schedule.due_at(key)
        if due_at is not None and now < due_at:
            raise KeyringError(
                f"{key.kid} is not known to every verifier before {due_at.isoformat(timespec='seconds')}: "
                f"wait {ceil((due_at - now).total_seconds())} s, or leave it to `keys tick`"
            )

    def _read_keys(self) -> Ring:
        """The ring, which must have keys: a folder that is not mounted looks like one without."""
        ring = self.read()
        if not ring:
            raise KeyringError(f"{self.path}: no keys here: mount or restore it; for a first key run `keys generate`")
        return ring

    def _is_known(self, kid: str) -> bool:
        return any(key.kid == kid for key in self.read()) or is_left(self.path, kid)

    def _store(self, before: Ring, after: Ring, made: Mapping[str, RSAPrivateKey] = _NONE) -> tuple[Step, ...]:
        store_ring(self.path, before, after, made, self.passphrase)
        return steps_between(before, after)

    def _store_secrets(self, before: SecretEntries, after: SecretEntries) -> tuple[Step, ...]:
        if after != before:
            store_secrets(self.path, after, self.passphrase)
        return steps_between(before, after)

    def _supply_secret(self) -> None:
        if not self.mac_secrets():
            self._store_secrets((), add_secret((), new_secret(secrets.token_bytes), self.now()))
