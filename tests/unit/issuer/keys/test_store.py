"""The key directory: accepted and rejected contents."""

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from issuer.errors import KeyStoreError
from issuer.keys.models import KeyState
from issuer.keys.store import load_key_set, new_private
from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from shared.jwks import format_jwks, parse_jwks, thumbprint
from tests.support.lost_keys import LOSSES, move_away
from tests.support.signing_keys import generate_key, key_manager

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEM_WITHOUT_KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
OTHER_JWKS = format_jwks([rsa.generate_private_key(65537, 2048).public_key()])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def pem_file(keys: Path) -> Path:
    return next((keys / "private").glob("*.pem"))


def usable(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("gatepass_issuer_key_directory_usable")


def test_a_folder_without_key_records_is_an_empty_key_set(tmp_path: Path) -> None:
    key_set = load_key_set(tmp_path)
    assert (key_set.keys, key_set.signing) == ((), None)


def test_a_new_key_is_strong_enough_for_every_verifier() -> None:
    public = new_private().public_key()
    assert (public.key_size, public.public_numbers().e) == (2048, 65537)


def test_a_key_is_named_by_its_thumbprint(keys: Path) -> None:
    signing = load_key_set(keys).signing
    assert signing is not None
    assert signing.kid == thumbprint(signing.private.public_key()) == pem_file(keys).stem


def test_private_files_are_readable_by_their_owner_alone(keys: Path) -> None:
    assert mode(keys / "private") == 0o700
    assert mode(pem_file(keys)) == mode(keys / "private/keys.json") == 0o600
    assert mode(keys / "public/jwks.json") == 0o644


def test_every_key_is_published_without_its_private_half(keys: Path) -> None:
    generate_key(keys, NOW)
    published = (keys / "public/jwks.json").read_bytes()
    assert set(parse_jwks(published).keys) == {key.kid for key in load_key_set(keys).keys}
    assert load_key_set(keys).jwks == published


def test_generate_if_missing_leaves_existing_keys_alone(keys: Path) -> None:
    before = load_key_set(keys).keys
    assert generate_key(keys, NOW, only_first=True) == before[0]
    assert load_key_set(keys).keys == before


def test_keys_generated_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: generate_key(tmp_path / "keys", NOW), range(4)))
    key_set = load_key_set(tmp_path / "keys")
    assert {key.kid for key in key_set.keys} == {key.kid for key in made}
    assert [key.state for key in key_set.keys].count(KeyState.CURRENT) == 1


def records(text: str) -> Callable[[Path], object]:
    return lambda keys: (keys / "private/keys.json").write_text(text)


def pem(content: bytes) -> Callable[[Path], object]:
    return lambda keys: pem_file(keys).write_bytes(content)


def private(key: RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Callable[[Path], object]:
    return pem(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def changed(**members: str | None) -> Callable[[Path], None]:
    """Change every record."""

    def change(keys: Path) -> None:
        path = keys / "private/keys.json"
        document = json.loads(path.read_text())
        document["keys"] = [key | members for key in document["keys"]]
        path.write_text(json.dumps(document))

    return change


def two_current_keys(keys: Path) -> None:
    generate_key(keys, NOW)
    changed(state="current", activated_at=NOW.isoformat())(keys)


def a_directory(file: Callable[[Path], Path]) -> Callable[[Path], None]:
    """Replace a file by a directory."""

    def replace(keys: Path) -> None:
        path = file(keys)
        path.unlink()
        path.mkdir()

    return replace


def renamed(keys: Path) -> None:
    path = keys / "private/keys.json"
    path.write_text(path.read_text().replace(pem_file(keys).stem, "renamed"))


def a_private_member(keys: Path) -> None:
    path = keys / "private/keys.json"
    path.write_text(path.read_text().replace('"public": {', '"public": {"d": "AQAB",'))


INVALID: dict[str, tuple[Callable[[Path], object], str]] = {
    "readable by the group": (lambda keys: pem_file(keys).chmod(0o640), "chmod 600"),
    "readable by others": (lambda keys: pem_file(keys).chmod(0o604), "chmod 600"),
    "empty key": (pem(b""), "invalid PKCS#8 key"),
    "truncated key": (pem(PEM_WITHOUT_KEY), "invalid PKCS#8 key"),
    "weak key": (private(rsa.generate_private_key(65537, 1024)), "at least 2048 bits"),
    "elliptic curve": (private(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    "another private key": (private(rsa.generate_private_key(65537, 2048)), "does not match its public key"),
    "directory in place of a key": (a_directory(pem_file), r"\.pem: cannot be read \(Is a directory\)"),
    "directory in place of the records": (
        a_directory(lambda keys: keys / "private/keys.json"),
        r"keys\.json: cannot be read \(Is a directory\)",
    ),
    "missing private key": (lambda keys: pem_file(keys).unlink(), "cannot be read"),
    **{f"records {text}": (records(text), r"keys\.json") for text in ("", "[]", "{}", '{"format":1}')},
    **{f"keys {text}": (records(f'{{"format":1,"keys":{text}}}'), r"keys\.json") for text in ("[{}]", "[7]", "7")},
    "newer format": (records('{"format":2,"keys":[]}'), "another version"),
    "two current keys": (two_current_keys, "more than one current key"),
    "renamed key": (renamed, "invalid key records"),
    "private member of a public key": (a_private_member, "invalid key records"),
    "current without its time": (changed(activated_at=None), "invalid key records"),
    "retired without its time": (changed(state="retired"), "invalid key records"),
    "time without a zone": (changed(created_at="2026-11-28T12:00:00"), "invalid key records"),
    "unknown state": (changed(state="lost"), "invalid key records"),
    "unknown member": (changed(note=""), "invalid key records"),
    "unreadable key set": (lambda keys: (keys / "public/jwks.json").write_text("{}"), r"jwks\.json: invalid key set"),
    "unpublished key": (lambda keys: (keys / "public/jwks.json").write_bytes(OTHER_JWKS), "does not publish"),
}


@pytest.mark.parametrize(("spoil", "complaint"), INVALID.values(), ids=INVALID)
def test_an_invalid_folder_is_rejected(keys: Path, spoil: Callable[[Path], object], complaint: str) -> None:
    spoil(keys)
    with pytest.raises(KeyStoreError, match=complaint):
        load_key_set(keys)


def test_a_missing_published_file_does_not_stop_signing(keys: Path) -> None:
    (keys / "public/jwks.json").unlink()
    assert load_key_set(keys).signing is not None


def test_no_repr_shows_a_private_key(keys: Path) -> None:
    key_set = load_key_set(keys)
    assert key_set.signing is not None
    secret = str(key_set.signing.private.private_numbers().d)
    assert secret not in repr(key_set)
    assert repr(key_set.signing) == f"SigningKey(kid='{key_set.signing.kid}')"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write files for another user")
def test_files_that_root_writes_belong_to_the_owner_of_the_folder(keys: Path) -> None:
    for folder in (keys / "private", keys / "public"):
        os.chown(folder, 12345, 12346)
    generate_key(keys, NOW)
    key_manager(keys, NOW).rotate_mac_secret()
    written = [keys / "public/jwks.json", *(keys / "private").glob("*.json"), keys / "private/.lock"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in written} == {(12345, 12346)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named_in_the_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(KeyStoreError, match="cannot be written"):
        generate_key(tmp_path / "keys", NOW)


def test_a_file_in_place_of_the_folder_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeyStoreError, match="keys/private: cannot be written"):
        generate_key(tmp_path / "keys", NOW)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_lost_folder_never_replaces_a_valid_key_set(keys: Path, lose: Callable[[Path], None]) -> None:
    metrics = Metrics()
    live = KeyWatcher(keys, metrics)
    loaded = live.key_set
    assert usable(metrics) == 1
    lose(keys)
    live.refresh()
    assert live.key_set is loaded
    assert not live.is_current
    assert usable(metrics) == 0
    assert KeyWatcher(keys, Metrics()).key_set.signing is None, "a process that starts now has nothing to sign with"


def test_a_persistent_error_is_logged_every_five_minutes(keys: Path) -> None:
    seconds = [1000.0]
    live = KeyWatcher(keys, Metrics(), monotonic=lambda: seconds[0])
    move_away(keys)
    with capture_logs() as lines:
        for _ in range(601):
            live.refresh()
            seconds[0] += 1
    assert [line["log_level"] for line in lines] == ["error"] * 3
    assert str(keys) in lines[0]["reason"]


def test_a_repaired_folder_is_read_though_its_records_did_not_change(keys: Path) -> None:
    live = KeyWatcher(keys, Metrics())
    second = generate_key(keys, NOW)
    pem_file(keys).with_name(f"{live.signing.kid}.pem").chmod(0o644)
    live.refresh()
    assert live.key_set.public_key(second.kid) is None
    pem_file(keys).with_name(f"{live.signing.kid}.pem").chmod(0o600)
    live.refresh()
    assert live.key_set.public_key(second.kid) is not None


def test_a_change_of_any_file_is_noticed_and_an_invalid_one_keeps_the_keys(keys: Path) -> None:
    metrics = Metrics()
    live = KeyWatcher(keys, metrics)
    loaded = live.key_set
    for number, path in enumerate((pem_file(keys), keys / "private/mac-secrets.json"), 1):
        path.chmod(0o644)
        live.refresh()
        assert metrics.registry.get_sample_value("gatepass_issuer_key_set_reload_failures_total") == number
        path.chmod(0o600)
        live.refresh()
    (keys / "public/jwks.json").write_text('{"keys":[]}')
    live.refresh()
    assert metrics.registry.get_sample_value("gatepass_issuer_key_set_reload_failures_total") == 3
    assert live.key_set.signing is not None
    assert live.key_set.keys == loaded.keys


def test_a_read_during_a_rotation_is_repeated(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next_key = generate_key(keys, NOW)
    read_bytes, changes = Path.read_bytes, [lambda: key_manager(keys, NOW + timedelta(days=1)).rotate()]

    def overtaken(path: Path) -> bytes:
        content = read_bytes(path)
        if path.name == "keys.json" and changes:
            changes.pop()()
        return content

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    signing = load_key_set(keys).signing
    assert changes == []
    assert signing is not None
    assert signing.kid == next_key.kid


def test_key_records_are_readable_by_people(keys: Path) -> None:
    text = (keys / "private/keys.json").read_text()
    assert len(text.splitlines()) > 10
    entry = json.loads(text)["keys"][0]
    assert entry["state"] == "current"
    assert entry["created_at"] == entry["activated_at"] == "2026-03-01T12:00:00+00:00"
    assert entry["retired_at"] is None
