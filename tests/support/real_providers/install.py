"""Installs the providers' programs and the parts of images: fetched and built once, in the user's cache folder.

Each is pinned by hashes, except Debian's packages, which are signed by their archive.

`python -m tests.support.real_providers.install` does it ahead of the tests. It needs only Python's standard library,
so that CI can start it before there is a virtual environment.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatepass/providers"
_COMPLETE: Final = "complete"

_KEYCLOAK: Final = "org.keycloak:keycloak-quarkus-dist:26.7.3:zip"
_KEYCLOAK_SHA256: Final = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
_NIMBUS: Final = "com.nimbusds:nimbus-jose-jwt:10.5:jar"
_NIMBUS_SHA256: Final = "104ed6c348d35f68ab16d85550ed59239bcb7846bc2bd885ef3851a0ab2e73cf"
_DEBIAN: Final = ("trixie", "python3,python3-pip-whl,nginx-light,gettext-base,wget")
_MAVEN_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class Unavailable(Exception):  # noqa: N818 - a state of this machine, not a mistake
    """A program is not available on this machine; the message says why."""


def keycloak() -> Path:
    """Return the folder of a Keycloak that is ready to start. Fetches and builds it if necessary.

    Raises:
        Unavailable: it could not be fetched or built.
    """
    return _once(f"keycloak-{_KEYCLOAK_SHA256[:16]}", _make_keycloak)


def oidc_provider() -> Path:
    """Return a copy of the folder `oidc_provider` with its packages, as `keycloak` does."""
    return with_npm_packages(_HERE / "oidc_provider")


def with_npm_packages(source: Path) -> Path:
    """Return a copy of a folder with the packages that its `package-lock.json` names, as `keycloak` does."""
    return _once(_named(source.name.replace("_", "-"), source), lambda folder: _add_npm_packages(source, folder))


def hydra() -> Path:
    """Return Hydra's program, as `keycloak` does."""
    source = _HERE / "hydra"
    return _once(_named("hydra", source), lambda folder: _make_hydra(source, folder)) / "hydra"


def go_tests(source: Path) -> Path:
    """Return the program that runs the Go tests of a folder, with the modules of its `go.sum`, as `keycloak` does."""
    return _once(_named("go-tests", source), lambda folder: _make_go_tests(source, folder)) / "tests"


def nimbus() -> Path:
    """Return the archive of Nimbus JOSE + JWT, as `keycloak` does."""
    folder = _once(f"nimbus-{_NIMBUS_SHA256[:16]}", lambda folder: _fetch(_NIMBUS, _NIMBUS_SHA256, folder))
    (archive,) = folder.glob("*.jar")
    return archive


def debian() -> Path:
    """Return a folder with `debian.tar`, a root file system for images, and `docker-compose`, as `keycloak` does."""
    return _once(f"debian-{hashlib.sha256(repr(_DEBIAN).encode()).hexdigest()[:16]}", _make_debian)


def _make_debian(folder: Path) -> None:
    release, packages = _DEBIAN
    # Debian 12's own Docker Compose is a first edition, which does not know what compose.yaml uses.
    download = f'cd {folder} && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download docker-compose'
    unneeded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    tar = str(folder / "debian.tar")
    hooks = [f"--customize-hook={download}"]
    # Its mounts are seen by no other process, which could keep them busy.
    program = ["unshare", "--mount", "mmdebstrap"]
    _run(*program, "--variant=minbase", f"--include={packages}", *unneeded, *hooks, release, tar)
    (package,) = folder.glob("docker-compose_*.deb")
    _run("dpkg-deb", "-x", str(package), str(folder / "unpacked"))
    (folder / "unpacked/usr/libexec/docker/cli-plugins/docker-compose").rename(folder / "docker-compose")
    shutil.rmtree(folder / "unpacked")
    package.unlink()


def _make_keycloak(folder: Path) -> None:
    archive = _fetch(_KEYCLOAK, _KEYCLOAK_SHA256, folder)
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    archive.unlink()
    (unpacked,) = folder.iterdir()
    for entry in list(unpacked.iterdir()):
        entry.rename(folder / entry.name)
    unpacked.rmdir()
    for script in (folder / "bin").glob("*.sh"):
        script.chmod(0o755)  # the archive's modes are lost
    # Done here and not at each start: it takes longer than the start itself.
    _run("sh", str(folder / "bin/kc.sh"), "build", "--db=dev-mem", "--health-enabled=true")


def _fetch(artifact: str, sha256: str, folder: Path) -> Path:
    """Return a file of Maven's repository, alone in `folder`."""
    fetched, repository = folder / "fetched", folder / "maven"
    local, output = f"-Dmaven.repo.local={repository}", f"-DoutputDirectory={fetched}"
    _run("mvn", "-q", "-B", local, _MAVEN_COPY, f"-Dartifact={artifact}", output)
    (file,) = fetched.iterdir()
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise Unavailable(f"{file.name} has the SHA-256 {found} and not {sha256}")
    file = file.rename(folder / file.name)
    shutil.rmtree(fetched)
    shutil.rmtree(repository)
    return file


def _add_npm_packages(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    _run("npm", "ci", folder=folder)


def _make_hydra(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    # `sqlite` is for its database in memory.
    build = ["build", "-mod=readonly", "-ldflags=-s -w", "-tags=sqlite", "-o=hydra"]
    _run("go", *build, "github.com/ory/hydra/v2", folder=folder)


def _make_go_tests(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    _run("go", "test", "-c", "-mod=readonly", "-o=tests", ".", folder=folder)


def _once(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` of the cache. The first process makes it, while others wait."""
    folder = _CACHE / name
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / _COMPLETE).touch()
    return folder


def _named(name: str, source: Path) -> str:
    """Return a name that changes with every file of `source`."""
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{name}-{digest.hexdigest()[:16]}"


def _run(program: str, *arguments: str, folder: Path | None = None) -> None:
    found = shutil.which(program)
    if found is None:
        raise Unavailable(f"{program} is not installed")
    command: Sequence[str] = [found, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr)[-2000:]
        raise Unavailable(f"`{program} {' '.join(arguments)}` failed with {done.returncode}: {last}")


if __name__ == "__main__":
    for one in (debian, oidc_provider, keycloak, hydra):
        try:
            one()
        except Unavailable as reason:
            sys.exit(str(reason))
