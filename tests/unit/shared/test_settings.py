"""Settings are parsed together; secrets are read from files; errors name variables and quote no values."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from shared.settings import Settings, SettingsError


class ExampleSettings(Settings):
    PREFIX: ClassVar[str] = "EXAMPLE_"

    number: int = Field(1, ge=0, le=9)
    name: str = Field("x", pattern="^[a-z]+$")
    password: SecretStr | None = None
    url: SecretStr = SecretStr("")


def read(**settings: str) -> ExampleSettings:
    return ExampleSettings.from_environment({f"EXAMPLE_{name}": value for name, value in settings.items()})


def faults(**settings: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        read(**settings)
    return error.value.faults


def test_only_variables_with_the_prefix_are_read() -> None:
    assert ExampleSettings.from_environment({"NUMBER": "9", "OTHER_NUMBER": "x", "EXAMPLE": "x"}).number == 1


def test_an_empty_variable_counts_as_unset() -> None:
    assert read(NUMBER="", UNKNOWN="").number == 1


def test_an_unknown_variable_is_an_error() -> None:
    assert faults(NUMBR="1") == ["EXAMPLE_NUMBR: no such setting; did you mean EXAMPLE_NUMBER?"]
    assert faults(number="1") == ["EXAMPLE_number: no such setting; did you mean EXAMPLE_NUMBER?"]
    assert faults(QWERTZUIOP="1") == ["EXAMPLE_QWERTZUIOP: no such setting"]
    assert faults(NAME_FILE="/x") == [
        "EXAMPLE_NAME_FILE: no such setting; did you mean EXAMPLE_NAME?"
    ]  # not a secret, so not by file


def test_every_error_is_reported_and_no_value_quoted() -> None:
    results = faults(NUMBER="hunter2", NAME="HUNTER2", HUNTER="hunter2")
    assert [fault.split(":")[0] for fault in results] == ["EXAMPLE_HUNTER", "EXAMPLE_NUMBER", "EXAMPLE_NAME"]
    assert "hunter2" not in "\n".join(results).lower().replace("example_hunter", "")


def test_a_secret_is_read_from_a_file_without_its_last_line_feed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    settings = read(URL_FILE=str(file))
    assert settings.url.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_secret_given_twice_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2")
    assert faults(URL="hunter3", URL_FILE=str(file)) == ["EXAMPLE_URL_FILE: set this or EXAMPLE_URL, not both"]


def test_an_unreadable_secret_file_is_an_error(tmp_path: Path) -> None:
    assert faults(URL_FILE=str(tmp_path / "none")) == ["EXAMPLE_URL_FILE: cannot be read (FileNotFoundError)"]
    (tmp_path / "binary").write_bytes(b"\xff")
    assert faults(URL_FILE=str(tmp_path / "binary")) == ["EXAMPLE_URL_FILE: cannot be read (UnicodeDecodeError)"]


def test_an_empty_secret_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "not-mounted").write_text("\n")
    assert faults(URL_FILE=str(tmp_path / "not-mounted")) == [
        "EXAMPLE_URL_FILE: the file is empty; write the secret into it, or unset the variable"
    ]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().number = 2
