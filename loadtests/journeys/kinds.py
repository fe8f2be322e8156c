"""The journeys that there are, and what each is judged by. Pure: locust plays them in `users`."""

from dataclasses import dataclass
from typing import Final

AUTH: Final = ("register", "login", "me", "refresh", "logout")
"""The operations of the issuer, as reports call them."""

CALL: Final = "call"
"""A request of the application, through the gateway, with a token that is good."""

REFUSED_CALL: Final = "refused call"
"""The same with one that is not: the right answer is 401."""

AFTER_LOGOUT: Final = "call after logout"
"""One that asks whether the gateway has heard of the logout by now."""

UNTIL_REFUSED: Final = "logout until refused"
"""From the answer to a logout until the gateway first refuses the access token."""

TOLD_TO_WAIT: Final = "login told to wait"
"""A login that was answered 503 with Retry-After: under a storm as right an answer as 200."""

ROTATION_SECONDS: Final = 120
"""From the publication of a key to its first signature, where the key set may be cached for 10 s."""


@dataclass(frozen=True, slots=True)
class Journey:
    """One kind of user.

    Attributes:
        name: what `JOURNEY` calls it.
        user: the class in `users` that plays it.
        think: the mean pause between two steps, in seconds, unless it is set.
        must: operations that have to have been measured.
        exempt: operations that no bound is held against.
        rotates: the signing key is rotated meanwhile.
        least_seconds: the shortest run that says anything.
    """

    name: str
    user: str
    think: float
    must: tuple[str, ...]
    exempt: tuple[str, ...] = ()
    rotates: bool = False
    least_seconds: float = 2.0


JOURNEYS: Final = {
    one.name: one
    for one in (
        Journey("person", "Person", 5.0, (*AUTH, CALL)),
        Journey("verify-steady", "VerifySteady", 1.0, (CALL,)),
        Journey("verify-garbage", "VerifyGarbage", 1.0, (REFUSED_CALL,)),
        Journey("login-storm", "LoginStorm", 1.0, ("login",), exempt=("login", TOLD_TO_WAIT)),
        Journey(
            "rotation", "Person", 5.0, ("login", "refresh", CALL), rotates=True, least_seconds=ROTATION_SECONDS + 30
        ),
        Journey("revocation", "Revocation", 30.0, ("login", "logout", UNTIL_REFUSED)),
    )
}
