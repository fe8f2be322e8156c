"""What the locust process is told, as a JSON file that an environment variable names. No secret is in it."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "GATEPASS_LOAD_PLAN"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of locust.

    Attributes:
        user: the class in `users` that is played.
        steps: users at a time.
        ramp: of each step, seconds in which users come and nothing is measured.
        step_seconds: of each step, ramp included.
        think: mean pause between two steps of a user, in seconds.
        host, issuer: base URLs.
        call: the path that is called through the gateway.
        people: seeded accounts; without any, every user registers.
        secret: the file with the password of all accounts.
        stack: the process id of the stack whose processor time is looked at; None if it is elsewhere.
        result: the file that figures are written to.
    """

    user: str
    steps: tuple[int, ...]
    ramp: float
    step_seconds: float
    think: float
    host: str
    issuer: str
    call: str
    people: int
    secret: str
    stack: int | None
    result: str

    def write(self, path: Path) -> None:
        """For another process."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """What `write` wrote."""
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**document, "steps": tuple(document["steps"])})
