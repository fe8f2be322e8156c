"""Settings of a process: read once from the environment, checked together, frozen, handed down.

A variable with our prefix that is not a setting is an error: with a typing error such as `VERIFIER_AUDIENSE`, the
default must not stay in force. A secret can be in a file: for a `SecretStr` field `X`, `PREFIX_X_FILE` is the path of
the file, so that the secret is not visible in the process table.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError


def suggestion(name: str, known: Iterable[str], spelled: Callable[[str], str] = str) -> str:
    """Return `; did you mean …?` with the nearest known name, or nothing if none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {spelled(nearest[0])}?" if nearest else ""


class ConfigurationError(Exception):
    """The configuration must not be used. The message has all errors, one line each."""


class SettingsError(ConfigurationError):
    """All faults of the settings, one line each. Values are never quoted: they may be secrets."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Settings(BaseModel):
    """Base of a process's settings. Field `x` is the variable `PREFIX + "X"`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    PREFIX: ClassVar[str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Parse variables such as `os.environ`; an empty variable counts as unset.

        Raises:
            SettingsError: with all faults at once.
        """
        given = {name: value for name, value in environ.items() if name.startswith(cls.PREFIX) and value}
        faults: list[str] = []
        values: dict[str, Any] = {}
        for name, value in sorted(given.items()):
            field = name.removeprefix(cls.PREFIX).lower()
            if field in cls.model_fields and name == cls.variable(field):
                values[field] = value
            elif (secret := cls._secret_in_file(name)) is None:
                nearest = suggestion(field, cls.model_fields, cls.variable)
                faults.append(f"{name}: no such setting{nearest}")
            elif cls.variable(secret) in given:
                faults.append(f"{name}: set this or {cls.variable(secret)}, not both")
            else:
                try:
                    values[secret] = Path(value).read_text(encoding="utf-8").strip()
                except (OSError, ValueError) as error:
                    faults.append(f"{name}: cannot be read ({type(error).__name__})")
                    continue
                if not values[secret]:
                    # Never as unset: keys would be stored without encryption while their secret is not mounted yet.
                    faults.append(f"{name}: the file is empty; write the secret into it, or unset the variable")
        try:
            settings = cls(**values)
        except ValidationError as error:
            faults += [cls._describe(fault["loc"], fault["msg"]) for fault in error.errors()]
            raise SettingsError(faults) from None
        if faults:
            raise SettingsError(faults)
        return settings

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable of a field."""
        return cls.PREFIX + field.upper()

    @classmethod
    def _secret_in_file(cls, name: str) -> str | None:
        field = name.removeprefix(cls.PREFIX).removesuffix("_FILE").lower()
        info = cls.model_fields.get(field)
        return field if name.endswith("_FILE") and info is not None and info.annotation is SecretStr else None

    @classmethod
    def _describe(cls, location: tuple[int | str, ...], message: str) -> str:
        text = message[:1].lower() + message[1:]
        text = text.removeprefix("value error, ")
        return f"{cls.variable(str(location[0]))}: {text}" if location else text
