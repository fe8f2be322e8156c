"""Hashes of other systems: published vectors are accepted, and values beyond the bounds rejected."""

import hashlib
from base64 import b64encode

import pytest

from issuer.passwords.foreign_hashes import UnusableHashError, read_foreign_hash


def b64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


RFC_7914_PBKDF2 = bytes.fromhex(
    "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
    "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"
)
RFC_7914_SCRYPT = bytes.fromhex(
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
)
DJANGO = hashlib.pbkdf2_hmac("sha256", b"walrus", b"seasalt", 1000)
SHA512 = hashlib.pbkdf2_hmac("sha512", b"walrus", b"seasalt", 1000)
LARGE_SCRYPT = hashlib.scrypt(b"walrus", salt=b"seasalt", n=1 << 14, r=16, p=4, maxmem=1 << 27, dklen=32)

VECTORS = [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (
        "toomanysecrets",
        "$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk",
    ),
    ("Password", f"$pbkdf2-sha256$i=80000,l=64${b64(b'NaCl')}${b64(RFC_7914_PBKDF2)}"),
    ("walrus", f"$pbkdf2-sha512$1000${b64(b'seasalt')}${b64(SHA512)}"),
    ("walrus", f"pbkdf2_sha256$1000$seasalt${b64encode(DJANGO).decode()}"),
    ("pleaseletmein", f"$scrypt$ln=14,r=8,p=1${b64(b'SodiumChloride')}${b64(RFC_7914_SCRYPT)}"),
    ("walrus", f"$scrypt$ln=14,r=16,p=4${b64(b'seasalt')}${b64(LARGE_SCRYPT)}"),
]


@pytest.mark.parametrize(("password", "stored"), VECTORS)
def test_a_foreign_hash_matches_only_its_password(password: str, stored: str) -> None:
    found = read_foreign_hash(stored)
    assert found(password.encode())
    assert not found(f"{password}x".encode())
    assert not found(b"")


def test_bcrypt_compares_72_bytes_like_the_original_system() -> None:
    import bcrypt  # noqa: PLC0415, TID251 - makes the hash that was stored

    found = read_foreign_hash(bcrypt.hashpw(b"w" * 72, bcrypt.gensalt(4)).decode())
    assert found(b"w" * 72 + b"a longer tail")
    assert not found(b"w" * 71)


SALT, DIGEST = b64(b"s" * 16), b64(b"d" * 32)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "walrus walrus walrus walrus",
        "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCCCE5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        f"$pbkdf2-sha256$2000001${SALT}${DIGEST}",
        f"$pbkdf2-sha256$0${SALT}${DIGEST}",
        f"$pbkdf2-sha256$99999999${SALT}${DIGEST}",
        f"$pbkdf2-md5$1000${SALT}${DIGEST}",
        f"$pbkdf2-sha256$1000${SALT}${b64(b'short')}",
        f"$pbkdf2-sha256$1000${SALT}${b64(b'd' * 65)}",
        f"$pbkdf2-sha256$1000${b64(b's' * 65)}${DIGEST}",
        f"$pbkdf2-sha256$1000${SALT}$AAAAA",
        f"pbkdf2_sha256$1000$${DIGEST}",
        f"pbkdf2_sha1$1000$seasalt${DIGEST}",
        f"$scrypt$ln=18,r=8,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=16,r=1,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=14,r=17,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=14,r=8,p=5${SALT}${DIGEST}",
        f"$scrypt$ln=0,r=8,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=14,r=8,p=1${SALT}${DIGEST}" + "A" * 600,
        f"$pbkdf2-sha256$\uff11000${SALT}${DIGEST}",
        f"$pbkdf2-sha256$1000${SALT}${DIGEST}\n",
        "$6$rounds=5000$usesomesillystring$D4IrlXatmP7rx3P3InaxBeoomnAihCKRVQAr/36eYHk",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ],
)
def test_malformed_or_excessive_hashes_are_rejected_unquoted(stored: str) -> None:
    with pytest.raises(UnusableHashError) as error:
        read_foreign_hash(stored)
    assert not stored or stored not in str(error.value)
    assert "\n" not in str(error.value)


def test_no_repr_shows_a_hash() -> None:
    for _, stored in VECTORS:
        assert stored[-8:] not in repr(read_foreign_hash(stored))
