"""`clients`: OAuth clients. A secret is printed when it is created, and never taken as an argument."""

import argparse
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from issuer.cli.output import Commands, Run, add_claims, add_command, add_subject, read_claims, show, with_database
from issuer.db.pool import Database
from issuer.errors import ClientRegistrationError
from issuer.oauth.models import Client
from issuer.oauth.registry import ClientRegistry, RegisteredClient
from issuer.oauth.store import ClientStore
from issuer.settings import IssuerSettings
from shared.jwks import MAX_DOCUMENT_BYTES

T = TypeVar("T")


def add(commands: Commands) -> None:
    """Register the commands."""
    clients = add_subject(commands, "clients", "OAuth clients: machines, and applications that users log in with")
    create = add_command(
        clients,
        "create",
        "register a client; if it gets a secret, that is printed once",
        _create,
        '"Night reports" --id reports --scope reports:read',
    )
    create.add_argument("name", help="display name")
    create.add_argument("--id", help="the client_id, random by default")
    create.add_argument("--scope", default="", help="allowed scopes, separated by spaces")
    create.add_argument("--audience", action="append", help="allowed token audience; repeat for more")
    create.add_argument(
        "--public",
        action="store_true",
        help="a client that users log in with, such as a browser or mobile app; it has no secret",
    )
    create.add_argument(
        "--jwks", type=Path, help="file with its public key set, for private_key_jwt instead of a secret"
    )
    add_claims(create)
    add_command(clients, "list", "list all clients", _list)
    _add_for_one(clients, "show", "show a client", _show)
    update = _add_for_one(
        clients,
        "update",
        "change a client; revoke the tokens of a machine; sessions get the change at their next refresh",
        _update,
        '--scope "reports:read orders:read"',
    )
    update.add_argument("--scope", help="replaces its scopes")
    update.add_argument("--audience", action="append", help="replaces its audiences; repeat for more")
    update.add_argument("--jwks", type=Path, help="file with the public key set that replaces its keys")
    add_claims(update)
    _add_for_one(clients, "disable", "disable a client; revoke its tokens and the sessions of its users", _disable)
    _add_for_one(clients, "enable", "enable a disabled client", _enable)
    _add_for_one(
        clients, "rotate-secret", "replace the secret and print the new one; tokens are revoked", _rotate_secret
    )
    _add_for_one(clients, "delete", "delete a client; revoke its tokens and the sessions of its users", _delete)


def _add_for_one(
    clients: Commands,
    name: str,
    summary: str,
    run: Run,
    more: str = "",
) -> argparse.ArgumentParser:
    """Register a command for one client; `more` follows the id in its example."""
    parser = add_command(clients, name, summary, run, f"reports {more}".rstrip())
    parser.add_argument("id", help="the client_id")
    return parser


def _create(settings: IssuerSettings, options: argparse.Namespace) -> None:
    audiences = options.audience or [settings.audience]
    jwks, claims = _read(options.jwks), read_claims(settings, options)
    created = _with_registry(
        settings,
        lambda registry: registry.create(
            options.name, options.id, options.scope, audiences, jwks, public=options.public, claims=claims
        ),
    )
    show(options, [_document(created.client) | _secret(created)])


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, map(_document, _with_registry(settings, lambda registry: registry.list())))


def _show(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(_with_registry(settings, lambda registry: registry.find(options.id)))])


def _update(settings: IssuerSettings, options: argparse.Namespace) -> None:
    claims = read_claims(settings, options)
    if options.scope is None and options.audience is None and options.jwks is None and not claims:
        raise ClientRegistrationError("nothing to change: give --scope, --audience, --jwks or --claim")
    jwks = _read(options.jwks)
    changed = _with_registry(
        settings, lambda registry: registry.update(options.id, options.scope, options.audience, jwks, claims)
    )
    show(options, [_document(changed)])


def _disable(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(_with_registry(settings, lambda registry: registry.disable(options.id)))])


def _enable(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(_with_registry(settings, lambda registry: registry.enable(options.id)))])


def _rotate_secret(settings: IssuerSettings, options: argparse.Namespace) -> None:
    rotated = _with_registry(settings, lambda registry: registry.rotate_secret(options.id))
    show(options, [_document(rotated.client) | _secret(rotated)])


def _delete(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(_with_registry(settings, lambda registry: registry.delete(options.id)))])


def _with_registry(settings: IssuerSettings, work: Callable[[ClientRegistry], Awaitable[T]]) -> T:
    def use(database: Database) -> Awaitable[T]:
        store = ClientStore(database)
        return work(ClientRegistry(settings.token_budget(), store, lambda: datetime.now(UTC), secrets.token_bytes))

    return with_database(settings, use)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT_BYTES)
    except OSError as error:
        raise ClientRegistrationError(f"{path}: {error.strerror}") from None


def _document(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "auth_method": client.auth_method.value,
        "scope": client.scope,
        "audiences": list(client.audiences),
        "claims": dict(client.claims),
        "created_at": client.created_at,
        "disabled_at": client.disabled_at,
        "kids": [key["kid"] for key in client.jwks or ()],
    }


def _secret(registered: RegisteredClient) -> dict[str, Any]:
    return {"secret": registered.secret} if registered.secret is not None else {}
