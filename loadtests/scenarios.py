"""The load scenarios: the user class of the locustfile, its pauses, and the operations that must be measured."""

from dataclasses import dataclass
from typing import Final

AUTH: Final = ("register", "login", "me", "refresh", "logout")
"""Operations of the issuer, by their names in reports."""

CALL: Final = "call"
"""A request to the application through the gateway, with a valid token."""

REJECTED_CALL: Final = "rejected call"
"""The same with an invalid token: the right response is 401."""

CALL_AFTER_LOGOUT: Final = "call after logout"
"""A request after a logout, which the gateway may accept or reject."""

REVOCATION: Final = "logout to rejection"
"""Time from the response to a logout until the gateway first rejects the access token."""

RETRY_LATER: Final = "login rejected with Retry-After"
"""A login that got 503 with Retry-After: a right response when all users log in at once."""

ROTATION_SECONDS: Final = 120
"""Time from the publication of a key to its first signature when the key set may be cached for 10 s."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    Attributes:
        user: class of the locustfile.
        think_seconds: mean pause between two steps of a user.
        required: operations that must have been measured.
        unbounded: operations whose times have no threshold here.
        rotates_key: whether the signing key is rotated during the run.
        min_seconds: shortest meaningful run.
    """

    user: str
    think_seconds: float
    required: tuple[str, ...]
    unbounded: tuple[str, ...] = ()
    rotates_key: bool = False
    min_seconds: float = 2.0


NO_SCENARIO: Final = Scenario("", 0.0, ())
"""The scenario of a run that was started with locust itself: no operation must have been measured."""

SCENARIOS: Final = {
    "typical": Scenario("TypicalUser", 5.0, (*AUTH, CALL)),
    "steady-calls": Scenario("SteadyCaller", 1.0, (CALL,)),
    "invalid-tokens": Scenario("InvalidTokenCaller", 1.0, (REJECTED_CALL,)),
    "login-storm": Scenario("LoginStormUser", 1.0, ("login",), unbounded=("login", RETRY_LATER)),
    "key-rotation": Scenario(
        "TypicalUser", 5.0, ("login", "refresh", CALL), rotates_key=True, min_seconds=ROTATION_SECONDS + 30
    ),
    "revocation": Scenario("RevocationUser", 30.0, ("login", "logout", REVOCATION)),
}
