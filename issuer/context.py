"""The context of a request or command: its actor and client IP. The audit event of a change contains them."""

from collections.abc import Callable
from dataclasses import dataclass, field


def never_disconnected() -> bool:
    """Return False: there is no connection that the client could close."""
    return False


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The actor, the client IP and the id of a request or command.

    Attributes:
        actor: `self` for the account's user, `client` for an OAuth client, `operator` for the command line,
            `issuer` for the issuer's own background work.
        ip_address: the client IP; None for the command line.
        user_agent: the `User-Agent` header field, cut to 512 bytes.
        request_id: the request's id in the log.
        is_disconnected: returns whether the client has closed its connection.
    """

    actor: str
    ip_address: str | None = None
    user_agent: str | None = field(default=None, repr=False)
    request_id: str | None = None
    is_disconnected: Callable[[], bool] = field(default=never_disconnected, repr=False, compare=False)

    @property
    def audit_columns(self) -> tuple[str, str | None, str | None]:
        """The columns `actor`, `address` and `request_id` of an audit event."""
        return self.actor, self.ip_address, self.request_id


OPERATOR = RequestContext("operator")
"""The context of an operator's command."""
