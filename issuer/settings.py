"""The issuer's settings: every one has a safe default, its unit in its name and bounds."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from issuer.db.url import parse_database_url
from issuer.email_address import parse_email
from issuer.keys.rotation import JWKS_MAX_AGE_SECONDS, ROTATION_DAYS
from issuer.mail.transport import parse_mail_url
from issuer.passwords.hasher import ARGON2_COSTS
from issuer.passwords.resources import available_cpus
from issuer.throttling.client_ip import MAX_TRUSTED_PROXY_HOPS
from issuer.tokens.additional_claims import ClaimTypes
from issuer.tokens.models import DEFAULT_MAX_BYTES, MAX_AUDIENCE_CHARACTERS, TokenProfile
from issuer.tokens.size import TokenBudget
from shared.access_token import MAX_ISSUED_TOKEN_BYTES, MAX_LIFETIME_SECONDS
from shared.logs import LogLevel
from shared.settings import Settings, SettingsError

_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_DEFAULT_SERVICE_NAME: Final = "Gatepass"

_PASSPHRASE_MIN: Final = 16
_PASSPHRASE_MAX: Final = 256

_SERVICE_NAME_MAX: Final = 64
"""The name is part of every mail's subject, of which mail programs show little more than this."""

_MAX_COOKIE_TOKEN_BYTES: Final = 4000
"""Browsers store cookies of up to 4096 bytes, including the name (RFC 6265bis §5.7)."""


def _issuer_identifier(url: str) -> str:
    """Require an http(s) URL without query or fragment (RFC 8414 §2). It becomes `iss` exactly as written."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError("must be an http or https URL without credentials")
    if "?" in url or "#" in url:
        raise ValueError("must have neither query nor fragment")
    return url


def _is_local(host: str) -> bool:
    """Return whether a host is an IP address or localhost, neither of which tells users the name of the service."""
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _check_origin(origin: str) -> None:
    """Require an origin as browsers send it (RFC 6454 §6.2), so that the whole text can be compared.

    Raises:
        ValueError: it is not an origin, or it has plain http, which an attacker in the network could impersonate.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise ValueError("must be origins such as https://app.example, in lower case, without path and without `*`")
    if match["scheme"] == "http" and match["host"] not in _LOOPBACK_HOSTS:
        raise ValueError("must be https origins, except for localhost")
    if match["port"] == {"http": "80", "https": "443"}[match["scheme"]]:
        raise ValueError("must not name the default port, which browsers omit")


def _parse_origins(text: str) -> frozenset[str]:
    origins = [item.strip() for item in text.split(",")] if text else []
    for origin in origins:
        _check_origin(origin)
    return frozenset(origins)


def _check_argon2_memory_mib(memory: int) -> int:
    if memory not in ARGON2_COSTS:
        raise ValueError(f"must be one of {', '.join(map(str, ARGON2_COSTS))}")
    return memory


def _check_passphrase(passphrase: SecretStr) -> SecretStr:
    # A short passphrase could be guessed, since the key derivation of PKCS#8 takes little work.
    if passphrase.get_secret_value() and not _PASSPHRASE_MIN <= len(passphrase) <= _PASSPHRASE_MAX:
        raise ValueError(f"must have {_PASSPHRASE_MIN} to {_PASSPHRASE_MAX} characters")
    return passphrase


def _check_service_name(name: str) -> str:
    if not name.isprintable() or name != name.strip() or "=?" in name:
        raise ValueError("must be one line of printable characters, without spaces around it and without `=?`")
    return name


def _link_base_url(link: str) -> str:
    if link and not link.isascii():
        raise ValueError("must be in ASCII")
    return _issuer_identifier(link).rstrip("/") if link else ""


def _accepted_by(parse: Callable[[str], object]) -> AfterValidator:
    """Return a validator that keeps a setting as it is if `parse` accepts its text, or if it is empty."""

    def check(setting: Any) -> Any:
        if text := setting.get_secret_value() if isinstance(setting, SecretStr) else setting:
            parse(text)
        return setting

    return AfterValidator(check)


Port = Annotated[int, Field(ge=1, le=65535)]
Origins = Annotated[str, Field(max_length=4096), _accepted_by(_parse_origins)]
ClaimText = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
"""Visible ASCII that JSON does not escape: every token contains it, and escapes would make tokens longer."""


class IssuerSettings(Settings):
    """The settings, read once at start. Field `x` is the variable `ISSUER_X`."""

    PREFIX: ClassVar[str] = "ISSUER_"

    host: str = Field(default="127.0.0.1", description="IP address that the public listener binds to")
    port: Port = Field(default=8000, description="port of the public listener")
    admin_host: str = Field(
        default="127.0.0.1", description="IP address that the listener for health, readiness and metrics binds to"
    )
    admin_port: Port = Field(default=9000, description="port of health, readiness and metrics")
    url: Annotated[ClaimText, AfterValidator(_issuer_identifier)] = Field(
        default="http://127.0.0.1:8000",
        description="the issuer identifier (`iss`) in tokens",
    )
    audience: ClaimText = Field(default="gatepass", max_length=MAX_AUDIENCE_CHARACTERS, description="the `aud` claim")
    database_url: Annotated[SecretStr, _accepted_by(parse_database_url)] = Field(
        default=SecretStr(""), description="postgresql:// URL; names several hosts if there are standbys"
    )
    database_connections: int = Field(
        default=10,
        ge=1,
        le=200,
        description="maximum number of connections for requests; `serve` opens one more to detect outages",
    )
    keys_dir: Path = Field(default=Path("keys"), description="key directory, with `private/` and `public/`")
    keys_passphrase: Annotated[SecretStr, AfterValidator(_check_passphrase)] = Field(
        default=SecretStr(""), description="encrypts private keys and MAC secrets; 16 to 256 characters"
    )
    key_rotation_days: int = Field(
        default=ROTATION_DAYS,
        ge=0,
        le=825,
        description="age of the signing key at which the next one is created; 0 turns rotation off",
    )
    jwks_max_age_seconds: int = Field(
        default=JWKS_MAX_AGE_SECONDS,
        ge=10,
        le=3600,
        description="how long the key set may be cached; a new key starts to sign after twice this time plus 100 s",
    )
    access_token_seconds: int = Field(
        default=600, ge=60, le=MAX_LIFETIME_SECONDS, description="maximum lifetime of an access token"
    )
    access_token_max_bytes: int = Field(
        default=DEFAULT_MAX_BYTES,
        ge=1024,
        le=MAX_ISSUED_TOKEN_BYTES,
        description="maximum size of an access token; commands reject scopes, roles and claims that do not fit",
    )
    additional_claims: Annotated[str, _accepted_by(ClaimTypes.parse)] = Field(
        default="",
        description="additional claims of access tokens, such as `tenant:string, seats:number`;"
        " types are string, number, boolean and strings",
    )
    session_idle_seconds: int = Field(
        default=14 * 86_400,
        ge=MAX_LIFETIME_SECONDS,
        le=90 * 86_400,
        description="a session expires when it is not refreshed for this time",
    )
    session_seconds: int = Field(
        default=30 * 86_400,
        ge=MAX_LIFETIME_SECONDS,
        le=90 * 86_400,
        description="a session expires at this age, even if it is in use",
    )
    sessions_per_account: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="maximum number of sessions of an account; one more login revokes the oldest",
    )
    refresh_retry_seconds: int = Field(
        default=120,
        ge=10,
        le=300,
        description="how long a used refresh token returns the same successor again, in case the response was lost",
    )
    password_min_length: int = Field(default=15, ge=8, le=64, description="minimum password length in code points")
    password_hash_timeout_seconds: float = Field(
        default=3.0, gt=0, le=30, description="longest wait for a password hash to start before the response is 503"
    )
    hash_threads: int = Field(
        default=0, ge=0, le=256, description="maximum number of concurrent password hashes; 0 means one for each CPU"
    )
    argon2_memory_mib: Annotated[int, AfterValidator(_check_argon2_memory_mib)] = Field(
        default=19,
        description="memory of each password hash: 46, 19, 12, 9 or 7 MiB, OWASP's parameter sets of equal strength",
    )
    trusted_proxy_hops: int = Field(
        default=0,
        ge=0,
        le=MAX_TRUSTED_PROXY_HOPS,
        description="number of trusted proxies in front; the client IP is taken from their X-Forwarded-For",
    )
    login_failures_per_ip: int = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="failed logins allowed per client IP and hour before delays start",
    )
    requests_per_ip: int = Field(
        default=5_000,
        ge=1,
        le=1_000_000,
        description="registrations, and password requests of each kind, allowed per client IP in 10 minutes",
    )
    email_verification: Literal["off", "required"] = Field(
        default="off", description="`required`: a login needs a verified email"
    )
    mail_url: Annotated[SecretStr, _accepted_by(parse_mail_url)] = Field(
        default=SecretStr(""),
        description="smtp:// (STARTTLS), smtps:// or smtp+plain:// URL of a mail server, or file:// URL of a folder",
    )
    service_name: Annotated[str, Field(max_length=_SERVICE_NAME_MAX), AfterValidator(_check_service_name)] = Field(
        default="",
        description="name of the service in mail; if empty, the host of the URL, or `Gatepass` for an IP address",
    )
    mail_from: Annotated[str, AfterValidator(lambda email: parse_email(email).mailbox if email else "")] = Field(
        default="", description="sender of mail; required with a mail URL"
    )
    mail_link_base_url: Annotated[str, Field(max_length=500), AfterValidator(_link_base_url)] = Field(
        default="", description="base URL of links in mail, such as https://app.example/auth"
    )
    cors_origins: Origins = Field(
        default="",
        description="origins, separated by commas, whose pages may call the issuer with fetch, such as https://app.example",
    )
    cookie_origins: Origins = Field(
        default="",
        description="origins, separated by commas, whose pages may keep tokens in cookies, such as https://app.example;"
        " the issuer must be served at the same origin",
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error")

    def passphrase(self) -> bytes | None:
        """Return the passphrase of the key directory; None if there is none."""
        return self.keys_passphrase.get_secret_value().encode() or None

    def concurrent_hashes(self) -> int:
        """Return how many passwords are hashed at once."""
        return self.hash_threads or available_cpus()

    def claim_types(self) -> ClaimTypes:
        """Return the additional claims that tokens may have."""
        return ClaimTypes.parse(self.additional_claims)

    def allowed_origins(self) -> frozenset[str]:
        """Return the origins whose pages may call the issuer."""
        return _parse_origins(self.cors_origins)

    def origins_with_cookies(self) -> frozenset[str]:
        """Return the origins whose pages may keep their tokens in cookies."""
        return _parse_origins(self.cookie_origins)

    @model_validator(mode="after")
    def _check_cookies(self) -> Self:
        if self.cookie_origins and self.access_token_max_bytes > _MAX_COOKIE_TOKEN_BYTES:
            raise ValueError(
                f"{self.variable('access_token_max_bytes')}: must be at most {_MAX_COOKIE_TOKEN_BYTES} with"
                f" {self.variable('cookie_origins')}, or browsers drop the cookie"
            )
        return self

    @model_validator(mode="after")
    def _check_mail(self) -> Self:
        if self.mail_url.get_secret_value() and not self.mail_from:
            raise ValueError(f"{self.variable('mail_from')}: is required with {self.variable('mail_url')}")
        if self.email_verification == "required" and not self.mail_url.get_secret_value():
            raise ValueError(f"{self.variable('email_verification')}: `required` needs {self.variable('mail_url')}")
        return self

    @model_validator(mode="after")
    def _check_token_size(self) -> Self:
        # Checks the token of a newly registered account: without room for it, no user could log in.
        if fault := self.token_budget().account_fault():
            raise ValueError(f"{self.variable('url')}, {self.variable('audience')}: {fault}")
        return self

    def token_profile(self) -> TokenProfile:
        """Return the properties that all access tokens share."""
        return TokenProfile(
            self.url,
            self.audience,
            self.access_token_seconds,
            self.access_token_max_bytes,
            self.claim_types(),
        )

    def token_budget(self) -> TokenBudget:
        """Return the size budget of access tokens."""
        return TokenBudget(self.url, self.audience, self.access_token_max_bytes)

    def service_title(self) -> str:
        """Return the name of the service in mail."""
        host = urlsplit(self.url).hostname or ""
        return self.service_name or (_DEFAULT_SERVICE_NAME if _is_local(host) else host)

    def service_names(self) -> frozenset[str]:
        """Return the names of this service, which no password may be."""
        host = urlsplit(self.url).hostname or ""
        return frozenset({host, host.removeprefix("www."), self.audience, self.url, self.service_title()})

    def require_database(self) -> str:
        """Return the database URL, for commands that need one.

        Raises:
            SettingsError: it is not set.
        """
        if not self.database_url.get_secret_value():
            raise SettingsError([f"{self.variable('database_url')}: is required by this command"])
        return self.database_url.get_secret_value()
