"""Operations on the key directory. A writer holds a lock while it reads the records and changes them."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Final

from issuer.errors import KeyStoreError
from issuer.keys.atomic_files import delete, exclusive_lock, remove_temp_files
from issuer.keys.mac_secrets import (
    MacSecretRecord,
    MacSecretRecords,
    is_secret_due,
    new_secret,
    read_mac_secrets,
)
from issuer.keys.models import KeyRecord, KeyRecords, KeyState, in_state, key_records_file, read_key_records
from issuer.keys.private_files import read_private
from issuer.keys.rotation import (
    KeyTransition,
    RotationPolicy,
    add_key,
    add_secret,
    advance,
    needs_rotation,
    promote,
    remove,
    transitions_between,
)
from issuer.keys.store import is_encrypted, new_private, private_file, public_file
from issuer.keys.writes import has_leftovers, rewrap_key, rewrap_secrets, store_key_records, store_mac_secrets

_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""A thumbprint. Checked before it becomes part of a path."""


@dataclass(frozen=True, slots=True)
class KeyManager:
    """The key directory and the operations on it. Each raises KeyStoreError if the directory cannot be used.

    Args:
        path: created by `generate` if it does not exist.
        policy: when keys change their state.
        now: returns the time. Called while the lock is held, so that a wait for the lock does not falsify the times.
        passphrase: encrypts and decrypts private files.
    """

    path: Path
    policy: RotationPolicy
    now: Callable[[], datetime]
    passphrase: bytes | None = field(default=None, repr=False)

    def read(self) -> KeyRecords:
        """Read the key records, which hold no private keys."""
        return read_key_records(self.path)

    def mac_secrets(self) -> MacSecretRecords:
        """Read the MAC secrets."""
        return read_mac_secrets(self.path, self.passphrase)

    def is_writable(self) -> bool:
        """Return whether this process may write to the directory.

        Raises:
            KeyStoreError: the directory has no keys, whether or not it is writable.
        """
        self._read_keys()
        folders = (key_records_file(self.path).parent, public_file(self.path).parent)
        return all(os.access(folder, os.W_OK | os.X_OK) for folder in folders)

    def is_encrypted(self, key: KeyRecord) -> bool | None:
        """Return whether the private key is encrypted; None if its file does not exist."""
        try:
            return is_encrypted(read_private(private_file(self.path, key.kid)))
        except FileNotFoundError:
            return None

    def generate(self, *, only_first: bool = False) -> KeyRecord:
        """Create and publish a key: current if there is none, else next. There is at most one next key.

        Args:
            only_first: create none if there is a current key.

        Returns:
            The new key, or the existing one if none was created.
        """
        with self._writing(create=True):
            mac_secrets = self.mac_secrets()
            self._store_secrets(mac_secrets, self._with_current(mac_secrets))
            records = self.read()
            current, next_key = in_state(records, KeyState.CURRENT), in_state(records, KeyState.NEXT)
            present = current if only_first else current and next_key
            return present or self._store_new(records, records)[-1]

    def rotate(self) -> tuple[KeyTransition, ...]:
        """Create a next key, or if there is one, promote it.

        Raises:
            KeyStoreError: verifiers may not have fetched the next key yet.
        """
        with self._writing():
            records = self.read()
            next_key = in_state(records, KeyState.NEXT)
            if next_key is None:
                return transitions_between(records, self._store_new(records, records))
            self._check_age(next_key)
            return self._store(records, promote(records, self.now()))

    def revoke(self, name: str) -> tuple[KeyTransition, ...]:
        """Remove a leaked key or MAC secret at once.

        The next one replaces it at once, even if verifiers have not fetched it: rejecting valid tokens for a while is
        better than accepting forged ones. After a crash, call it again to finish.

        Raises:
            KeyStoreError: no key or MAC secret has that name.
        """
        with self._writing():
            secrets = self.mac_secrets()
            if any(record.name == name for record in secrets):
                return self._store_secrets(secrets, self._with_current(remove(secrets, name, self.now())))
            records = self.read()
            has_files = bool(_KID.fullmatch(name)) and has_leftovers(self.path, name)
            if not has_files and all(key.kid != name for key in records):
                raise KeyStoreError(f"{self.path}: no key or MAC secret has that name; see `keys list`")
            after = remove(records, name, self.now())
            if in_state(after, KeyState.CURRENT) is None:
                transitions = transitions_between(records, self._store_new(records, after))
            else:
                transitions = self._store(records, after)
            # Here too, since a crash may have removed the record and not the file.
            delete(private_file(self.path, name))
            return transitions

    def advance(self, *, wait: bool = True) -> tuple[KeyTransition, ...]:
        """Perform the transitions that are due. Safe at any time and from any number of processes at once.

        Args:
            wait: wait for other writers. If False, return at once if another writer holds the lock.

        Raises:
            KeyStoreError: there are no keys.
        """
        # Before taking the lock, which creates a file: nothing may be written into an empty mount point.
        self._read_keys()
        with self._writing(wait=wait) as held:
            if not held:
                return ()
            records = self._read_keys()
            after = advance(records, self.policy.is_due, self.now())
            transitions = self._store(records, after)
            if needs_rotation(after, self.policy, self.now()):
                transitions += transitions_between(after, self._store_new(after, after))
            mac_secrets = self.mac_secrets()
            return transitions + self._store_secrets(mac_secrets, advance(mac_secrets, is_secret_due, self.now()))

    def rotate_mac_secret(self) -> MacSecretRecord:
        """Create a next MAC secret; `advance` promotes it once every issuer has loaded it. There is at most one."""
        with self._writing():
            records = self.mac_secrets()
            after = self._with_current(records)
            if in_state(after, KeyState.NEXT) is None:
                after = add_secret(after, new_secret(), self.now())
            self._store_secrets(records, after)
            next_record = in_state(after, KeyState.NEXT)
            assert next_record is not None
            return next_record

    def rewrap(self, old_passphrase: bytes | None) -> tuple[KeyTransition, ...]:
        """Encrypt all private files with the passphrase, or decrypt them if there is none.

        Running it again completes an interrupted run.

        Args:
            old_passphrase: opens files that the current passphrase does not open.

        Raises:
            KeyStoreError: neither passphrase opens a file.
        """
        with self._writing():
            records = self.read()
            names = [key.kid for key in records if rewrap_key(self.path, key, old_passphrase, self.passphrase)]
            names += rewrap_secrets(self.path, old_passphrase, self.passphrase)
        return tuple(KeyTransition("rewrapped", name) for name in names)

    @contextmanager
    def _writing(self, *, create: bool = False, wait: bool = True) -> Iterator[bool]:
        """Hold the lock, and convert OS errors. Yield False if another process holds it and `wait` is False."""
        private_dir, public_dir = key_records_file(self.path).parent, public_file(self.path).parent
        try:
            if create:
                private_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                public_dir.mkdir(mode=0o755, exist_ok=True)
            with exclusive_lock(private_dir, wait=wait) as held:
                if held:
                    remove_temp_files(private_dir)
                    remove_temp_files(public_dir)
                yield held
        except FileNotFoundError as error:
            if private_dir.is_dir() and not public_dir.is_dir():
                raise KeyStoreError(f"{public_dir} is missing; create or restore it") from error
            raise KeyStoreError(_no_keys(self.path)) from error
        except OSError as error:
            place = error.filename or self.path
            raise KeyStoreError(f"{place}: cannot be written ({error.strerror})") from error

    def _store_new(self, before: KeyRecords, remaining: KeyRecords) -> KeyRecords:
        """Create a key. Replace the records `before` by `remaining` and the new one, and return the result."""
        # Before the clock is read: creation takes time, and the age of a key starts when the key is published.
        private = new_private()
        after = add_key(remaining, private.public_key(), self.now())
        store_key_records(self.path, before, after, self.passphrase, private)
        return after

    def _check_age(self, key: KeyRecord) -> None:
        now, due_at = self.now(), self.policy.due_at(key)
        if due_at is not None and now < due_at:
            raise KeyStoreError(
                f"cannot promote {key.kid} before {due_at.isoformat(timespec='seconds')}, when every verifier has "
                f"fetched it: wait {ceil((due_at - now).total_seconds())} s, or run `keys advance` then"
            )

    def _read_keys(self) -> KeyRecords:
        """Read the records and reject an empty set, which may be an unmounted directory."""
        records = self.read()
        if not records:
            raise KeyStoreError(_no_keys(self.path))
        return records

    def _store(self, before: KeyRecords, after: KeyRecords) -> tuple[KeyTransition, ...]:
        store_key_records(self.path, before, after, self.passphrase)
        return transitions_between(before, after)

    def _store_secrets(self, before: MacSecretRecords, after: MacSecretRecords) -> tuple[KeyTransition, ...]:
        if after != before:
            store_mac_secrets(self.path, after, self.passphrase)
        return transitions_between(before, after)

    def _with_current(self, records: MacSecretRecords) -> MacSecretRecords:
        """Return the MAC secrets, with a new one if none is current."""
        return records if in_state(records, KeyState.CURRENT) else add_secret(records, new_secret(), self.now())


def _no_keys(folder: Path) -> str:
    return f"{folder}: no keys found; mount or restore the directory, or run `keys generate` for a first key"
