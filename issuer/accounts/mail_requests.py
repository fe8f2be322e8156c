"""Requests for mail to an email address. The responses reveal nothing about accounts.

Every request gets the same response, runs the same statement, and takes at least a fixed time. ADR 0041.
"""

import asyncio
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Final, TypeVar

from issuer.accounts.input_checks import read_email
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.audit.events import AuditEventKind
from issuer.context import RequestContext
from issuer.mail.templates import Template
from issuer.throttling.models import LimitedAction
from issuer.throttling.throttle import Throttle

MIN_RESPONSE_SECONDS: Final = 0.1
"""A statement that writes nothing saves a flush of PostgreSQL's log to disk. That difference alone would reveal which
emails have an account."""

_PRECISE_SECONDS: Final = 0.005
"""The event loop's timers count whole milliseconds from its last event, so the time of a timer would reveal when the
statement ended. A thread waits the last part."""

_T = TypeVar("_T")


async def pad_to_minimum(work: Awaitable[_T]) -> _T:
    """Return the result of `work`, at the earliest after `MIN_RESPONSE_SECONDS`."""
    deadline = time.monotonic() + MIN_RESPONSE_SECONDS
    outcome, _ = await asyncio.gather(work, asyncio.sleep(MIN_RESPONSE_SECONDS - _PRECISE_SECONDS))
    await asyncio.to_thread(_sleep_until, deadline)
    return outcome


def _sleep_until(deadline: float) -> None:
    time.sleep(max(0.0, deadline - time.monotonic()))


async def request_mail(
    store: SelfServiceStore,
    throttle: Throttle,
    email: str,
    template: Template,
    kind: AuditEventKind | None,
    now: datetime,
    context: RequestContext,
) -> None:
    """Queue a mail if an account with this email may get it, and record an event of `kind` then.

    Raises:
        InvalidFieldsError: this is not an email.
        TooManyAttemptsError: the rate limit of this network was reached.
        UnavailableError: the database is unavailable.
    """
    email_key = read_email(email).key
    await throttle.admit(LimitedAction.FORGOT, context)
    await pad_to_minimum(store.request_mail(email_key, template, kind, now, context))
