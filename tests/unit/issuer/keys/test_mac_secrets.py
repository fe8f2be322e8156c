"""MAC secrets: their states, and the file that contains them."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from issuer.errors import KeyStoreError
from issuer.keys.mac_secrets import (
    MAX_SESSION,
    PROPAGATION_DELAY,
    MacSecret,
    MacSecretRecord,
    MacSecretRecords,
    format_mac_secrets,
    is_secret_due,
    mac_secrets_file,
    new_secret,
    read_mac_secrets,
)
from issuer.keys.rotation import add_secret, advance
from issuer.keys.store import load_key_set
from tests.support.signing_keys import generate_key, key_manager

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PASSPHRASE = b"one of the passphrases"
SEALED_BY_0_2 = {
    "format": 1,
    "sealed": {
        "salt": "o28ndyP0bEsUASiKlJhdfg==",
        "nonce": "7MT6h5OffiLv+Apc",
        "ciphertext": "Qu9HyTJ+tK4PTP3shGcD9+Il6Hhdq5/lSyBwdJ+zdNi5nMmU2J55uIHx6p4wYcWjue35E8JUa0NX3ANtAaBoMbkYAHZo"
        "Qx1x"
        "5ygvqHsHJtpx1LxtqajfC5SRw+/0g4DIYX5sWVnkYK2edGpUCHqXSDtpGF5icyJtPjyv4G3GUbaFn+hAxgcHs2ONUc32b1oSlXa/BRF+6tHY"
        "7RXQ57/rqMx9Ev46xWRZ0R5TUA1LijzOl0R8CzHxxRkIRNr/G4kC4TradYE6t3+cJXvmygurqcbCXkcwWA==",
    },
}
"""A file that is encrypted by `PASSPHRASE`, with the secret 000102…1f. Later versions must be able to read it."""


def ids(records: MacSecretRecords) -> list[tuple[str, str]]:
    return [(entry.name, entry.state) for entry in records]


def test_a_key_directory_has_a_mac_secret_shown_by_its_id_alone(keys: Path) -> None:
    (secret,) = load_key_set(keys).mac_secrets
    assert len(secret.value) == 32
    assert len(bytes.fromhex(secret.id)) == 4
    assert repr(secret) == f"MacSecret(id='{secret.id}')"
    assert stat.S_IMODE(mac_secrets_file(keys).stat().st_mode) == 0o600


def test_a_folder_without_a_mac_secret_gets_one_by_generate_if_missing(keys: Path) -> None:
    mac_secrets_file(keys).unlink()
    with pytest.raises(KeyStoreError, match="keys generate --if-missing"):
        load_key_set(keys)
    kept = generate_key(keys, NOW, only_first=True)
    key_set = load_key_set(keys)
    assert key_set.keys == (kept,)
    assert len(key_set.mac_secrets) == 1


def rotated(old: MacSecret, new: MacSecret) -> MacSecretRecords:
    records = add_secret(add_secret((), old, NOW), new, NOW)
    return advance(records, is_secret_due, NOW + PROPAGATION_DELAY)


def test_a_new_secret_signs_only_when_every_issuer_has_read_it() -> None:
    old, new = new_secret(), new_secret()
    records = add_secret(add_secret((), old, NOW), new, NOW)
    assert ids(records) == [(old.id, "current"), (new.id, "next")]
    assert advance(records, is_secret_due, NOW + PROPAGATION_DELAY - SECOND) == records
    assert ids(rotated(old, new)) == [(old.id, "retired"), (new.id, "current")]


def test_a_retired_secret_is_removed_when_no_session_can_need_it() -> None:
    old, new = new_secret(), new_secret()
    records, retired_at = rotated(old, new), NOW + PROPAGATION_DELAY
    assert advance(records, is_secret_due, retired_at + MAX_SESSION - SECOND) == records
    assert ids(advance(records, is_secret_due, retired_at + MAX_SESSION)) == [(new.id, "current")]


def test_the_file_has_the_current_secret_first_and_then_the_newest(keys: Path) -> None:
    old, current, new = new_secret(), new_secret(), new_secret()
    records = add_secret(rotated(old, current), new, NOW + PROPAGATION_DELAY)
    assert ids(records) == [(old.id, "retired"), (current.id, "current"), (new.id, "next")]
    mac_secrets_file(keys).write_bytes(format_mac_secrets(records, None))
    assert read_mac_secrets(keys, None) == (records[1], records[2], records[0])


def test_rotating_twice_makes_one_next_secret(keys: Path) -> None:
    (old,) = load_key_set(keys).mac_secrets
    made = key_manager(keys, NOW).rotate_mac_secret()
    assert key_manager(keys, NOW).rotate_mac_secret() == made
    assert load_key_set(keys).mac_secrets == (old, made.secret)
    assert {transition.action for transition in key_manager(keys, NOW + PROPAGATION_DELAY).advance()} == {
        "promoted",
        "retired",
    }
    assert load_key_set(keys).mac_secrets == (made.secret, old)
    assert key_manager(keys, NOW + PROPAGATION_DELAY + MAX_SESSION, policy=None).advance()
    assert load_key_set(keys).mac_secrets == (made.secret,)


def test_revoking_a_secret_leaves_keys_alone(keys: Path) -> None:
    before = load_key_set(keys)
    key_manager(keys, NOW).revoke(before.mac_secrets[0].id)
    after = load_key_set(keys)
    assert after.keys == before.keys
    assert len(after.mac_secrets) == 1
    assert after.mac_secrets != before.mac_secrets


def test_a_sealed_file_of_an_earlier_version_opens(tmp_path: Path) -> None:
    path = mac_secrets_file(tmp_path)
    path.parent.mkdir()
    path.write_text(json.dumps(SEALED_BY_0_2))
    path.chmod(0o600)
    (record,) = read_mac_secrets(tmp_path, PASSPHRASE)
    assert record == MacSecretRecord(MacSecret("0badc0de", bytes(range(32))), created_at=NOW, activated_at=NOW)
    assert record.secret.refresh_token_key.hex() == "dd7205b05786a05f0759e7fb50687ec85c6591f883c65e9ae7bcb2d8e8f93710"


@pytest.mark.parametrize("bits", [0o640, 0o604])
def test_mac_secrets_readable_by_others_are_rejected(keys: Path, bits: int) -> None:
    mac_secrets_file(keys).chmod(bits)
    with pytest.raises(KeyStoreError, match=r"mac-secrets\.json: mode .* chmod 600"):
        load_key_set(keys)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format":1}',
        '{"format":1,"secrets":[]}',
        '{"format":1,"secrets":[7]}',
        '{"format":1,"secrets":[{"id":"00000000","value":"c2hvcnQ="}]}',
        '{"format":1,"sealed":{}}',
        '{"format":1,"sealed":7}',
    ],
)
def test_a_malformed_file_of_mac_secrets_is_rejected(keys: Path, content: str) -> None:
    mac_secrets_file(keys).write_text(content)
    with pytest.raises(KeyStoreError, match=r"mac-secrets\.json: .*restore the file"):
        load_key_set(keys, PASSPHRASE)


def test_a_modified_sealed_file_is_rejected(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    path = mac_secrets_file(tmp_path)
    document = json.loads(path.read_text())
    document["sealed"]["ciphertext"] = document["sealed"]["ciphertext"][::-1].strip("=")[:64]
    path.write_text(json.dumps(document))
    with pytest.raises(KeyStoreError, match=r"mac-secrets\.json"):
        load_key_set(tmp_path, PASSPHRASE)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_foreign_character_in_a_value_is_rejected(tmp_path: Path, passphrase: bytes | None) -> None:
    generate_key(tmp_path, NOW, passphrase=passphrase)
    path = mac_secrets_file(tmp_path)
    document = json.loads(path.read_text())
    members, name = (document["secrets"][0], "value") if passphrase is None else (document["sealed"], "nonce")
    members[name] = f"*{members[name]}"
    path.write_text(json.dumps(document))
    with pytest.raises(KeyStoreError, match=r"mac-secrets\.json: .*restore the file"):
        load_key_set(tmp_path, passphrase)


def test_mac_secrets_of_a_newer_format_are_rejected(keys: Path) -> None:
    mac_secrets_file(keys).write_text('{"format":2,"secrets":[]}')
    with pytest.raises(KeyStoreError, match="another version"):
        load_key_set(keys)
