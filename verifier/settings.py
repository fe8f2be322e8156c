"""The settings of the verifier, all of them `VERIFIER_…` variables."""

import os
import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.logs import LogLevel
from shared.settings import Settings, SettingsError
from verifier.policy_file import Configuration, Issuer, IssuerName, PolicyError, parse_configuration
from verifier.urls import check_url, redact_url

Port = Annotated[int, Field(ge=0, le=65535)]
_KEY_SETTINGS: Final = "VERIFIER_JWKS_FILE, VERIFIER_JWKS_URL or VERIFIER_DISCOVERY"

Realm = Annotated[str, StringConstraints(pattern=r"^[\x20\x21\x23-\x5B\x5D-\x7E]{1,64}$")]


class VerifierSettings(Settings):
    """The settings, read once at the start; the file that `policies_file` names is read again on SIGHUP."""

    PREFIX: ClassVar[str] = "VERIFIER_"

    host: str = Field("127.0.0.1", description="IP address to listen on for subrequests")
    port: Port = Field(8001, description="port to listen on for subrequests")
    uds: Path | None = Field(None, description="unix socket to listen on instead of host and port")
    uds_mode: str = Field("0660", pattern=r"^0?[0-7]{3}$", description="permissions of the unix socket, octal")
    uds_group: str | None = Field(None, description="group that owns the unix socket, such as the gateway's")
    admin_host: str = Field("127.0.0.1", description="IP address of /healthz, /readyz and /metrics")
    admin_port: Port = Field(9001, description="port of /healthz, /readyz and /metrics")

    issuer: IssuerName | None = Field(None, description="the `iss` to accept")
    audience: str = Field("gatepass", min_length=1, max_length=512, description="must be in `aud`")
    jwks_file: Path | None = Field(None, description="the issuer's key set as a file; read again when it changes")
    jwks_url: str | None = Field(None, description="the issuer's key set by https, or by http from loopback")
    discovery: str | None = Field(
        None,
        description="the issuer's OpenID Connect or OAuth metadata, which name the key set; as VERIFIER_JWKS_URL",
    )
    ca_file: Path | None = Field(
        None, description="certificate authorities to trust when fetching key sets, metadata and status lists, PEM"
    )
    allow_http: bool = Field(
        default=False,
        description="fetch key sets, metadata and status lists by plain http: in private networks only",
    )
    cache_dir: Path | None = Field(
        None, description="directory in which fetched key sets, metadata and status lists survive a restart"
    )
    jwks_max_stale_seconds: int = Field(
        86_400, ge=60, le=2_592_000, description="how long keys are used after their URL last responded"
    )
    status_lists: str | None = Field(None, description="the issuer's status list aggregation, as VERIFIER_JWKS_URL")
    status_poll_seconds: float = Field(2.0, ge=0.2, le=300, description="how often status lists are fetched")
    status_stale: Literal["accept", "reject"] = Field(
        "accept", description="a status list that cannot be refreshed: accept until its `exp`, or reject"
    )
    policies_file: Path | None = Field(None, description="named policies and further issuers, TOML")
    leeway_seconds: int = Field(5, ge=0, le=60, description="tolerance for clocks that differ")
    realm: Realm = Field("gatepass", description="the realm in challenges")

    cache_entries: int = Field(
        100_000, ge=0, le=10_000_000, description="cached decisions at most; 0 turns the cache off"
    )
    cache_bytes: int = Field(64 * 1024 * 1024, ge=65_536, le=2**36, description="memory for cached decisions")
    max_connections: int = Field(10_000, ge=1, le=1_000_000, description="open connections at most")
    drain_seconds: int = Field(2, ge=0, le=300, description="how long open connections are served after SIGTERM")
    log_level: LogLevel = Field("info", description="debug, info, warning or error")

    @model_validator(mode="after")
    def _check_key_source(self) -> Self:
        named = sum(location is not None for location in (self.jwks_file, self.jwks_url, self.discovery))
        if named > 1:
            raise ValueError(
                "VERIFIER_JWKS_FILE, VERIFIER_JWKS_URL, VERIFIER_DISCOVERY: set one of them, not several"
            )
        if (self.issuer is None) != (named == 0):
            raise ValueError(f"VERIFIER_ISSUER: set it together with {_KEY_SETTINGS}, or set neither")
        if self.issuer is None and self.policies_file is None:
            raise ValueError(
                f"VERIFIER_ISSUER: required: set it and {_KEY_SETTINGS}, or name issuers in VERIFIER_POLICIES_FILE"
            )
        if self.status_lists and self.issuer is None:
            raise ValueError("VERIFIER_STATUS_LISTS: set VERIFIER_ISSUER too")
        return self

    @model_validator(mode="after")
    def _check_urls(self) -> Self:
        for field in ("jwks_url", "discovery", "status_lists"):
            url = getattr(self, field)
            if url and (problem := check_url(url, allow_http=self.allow_http)):
                raise ValueError(f"{self.variable(field)}: {redact_url(url)!r}: {problem}")
        return self

    @classmethod
    def for_fetching(cls, environ: Mapping[str, str]) -> Self:
        """Read only the settings that say how to fetch, for a command that needs no issuer.

        Raises:
            SettingsError: as `from_environment`.
        """
        names = [cls.variable(field) for field in ("ca_file", "allow_http")]
        known = {name: environ[name] for name in names if name in environ}
        # Without an issuer settings are valid only with a policy file, which is not read here.
        return cls.from_environment({**known, cls.variable("policies_file"): os.devnull})

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS settings of requests for key sets, metadata and status lists.

        The first call takes 30 ms and 1 MiB: not every verifier fetches by https.

        Raises:
            SettingsError: the certificate authorities cannot be read.
        """
        try:
            return _load_authorities(self.ca_file)
        except OSError as error:
            fault = f"{self.variable('ca_file')}: no PEM certificates can be read ({type(error).__name__})"
            raise SettingsError([fault]) from error

    def load_configuration(self) -> Configuration:
        """Read the policy file, and check the certificate authorities.

        Raises:
            PolicyError: the file cannot be read, or is invalid.
            SettingsError: the certificate authorities cannot be read.
        """
        own = Issuer(self.jwks_file, self.jwks_url, self.discovery, self.status_lists)
        document = _read(self.policies_file) if self.policies_file else ""
        try:
            configuration = parse_configuration(
                document,
                issuers={self.issuer: own} if self.issuer else {},
                audience=self.audience,
                leeway_seconds=self.leeway_seconds,
                allow_http=self.allow_http,
            )
        except RecursionError as error:
            raise PolicyError(f"{self.policies_file}: nested too deeply") from error
        if self.ca_file is not None:
            self.ssl_context()
        return configuration


@cache
def _load_authorities(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _read(path: Path) -> str:
    try:
        # A pipe can be read only once, so a reload would block.
        if path.exists() and not path.is_file():
            raise PolicyError(f"{path}: not a regular file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: cannot be read ({type(error).__name__})") from error
