"""The sites of `deploy/gateways/*/site`, with other ports and certificates."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stack.gateway_config import GATEWAYS
from tests.support.certificates import site_certificate
from tests.support.processes import free_port

PORTS: Final = (80, 443, 8000, 8001, 8002, 8090)
"""The ports in the files: redirect, gateway, issuer, verifier, the check of Traefik, application."""


def write_site(name: str, folder: Path, ports: Mapping[int, int]) -> None:
    """Write the files of `deploy/gateways/<name>` into `folder`, with these ports, free ones, and a certificate."""
    ports = {port: ports.get(port) or free_port() for port in PORTS}
    shutil.copytree(GATEWAYS / name, folder, dirs_exist_ok=True)
    for script in (GATEWAYS / name).parent.glob("*.lua"):
        shutil.copy(script, folder)
    certificate, key = site_certificate(folder)
    (folder / "haproxy.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    for path in (GATEWAYS / name).rglob("*"):
        if path.is_file():
            text = with_ports(path.read_text(encoding="utf-8"), ports)
            # Caddy would respond to other host names, which the tests use, itself.
            text = text.replace("\napp.example.com:", "\nhttps://:")
            text = text.replace("/etc/ssl/app.example.com", str(folder))
            (folder / path.relative_to(GATEWAYS / name)).write_text(text, encoding="utf-8")


def with_ports(text: str, ports: Mapping[int, int]) -> str:
    """Return the text of a site's file with other ports, all on loopback."""
    gateway, redirect = ports[443], ports[80]
    changes = {
        "listen 80;": f"listen 127.0.0.1:{redirect};",
        "listen 443 ssl;": f"listen 127.0.0.1:{gateway} ssl;",
        'address: ":80"': f'address: "127.0.0.1:{redirect}"',
        'address: ":443"': f'address: "127.0.0.1:{gateway}"',
        'address: "0.0.0.0", port_value: 443 ': f'address: "127.0.0.1", port_value: {gateway} ',
        "bind :80\n": f"bind 127.0.0.1:{redirect}\n",
        "bind :443 ": f"bind 127.0.0.1:{gateway} ",
        "abns@gatepass": f"abns@gatepass-{gateway}",
        "\napp.example.com {": f"\napp.example.com:{gateway} {{\n\tbind 127.0.0.1",
        "\tadmin off": "\tadmin off\n\tauto_https disable_redirects",
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    return re.sub(
        r'(127\.0\.0\.1(?::|", port_value: ))(\d+)\b',
        lambda found: found[1] + str(ports.get(int(found[2]), found[2])),
        text,
    )
