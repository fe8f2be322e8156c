"""Self-signed certificates for the documented site and for servers at 127.0.0.1."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST: Final = "app.example.com"
"""The host of every documented site."""


def site_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for `HOST` and its private key into `folder`; return both paths."""
    paths = folder / "fullchain.pem", folder / "privkey.pem"
    for path, content in zip(paths, _certificate(HOST, x509.DNSName(HOST)), strict=True):
        path.write_bytes(content)
    return paths


def self_signed(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return contexts for a server at 127.0.0.1 and for a client that trusts it; write `server.pem` into `folder`."""
    pem = folder / "server.pem"
    pem.write_bytes(b"".join(_certificate("server", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


def _certificate(common_name: str, host: x509.GeneralName) -> tuple[bytes, bytes]:
    """Return a certificate and its private key, in PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
