"""Reads what an echo says about the request that reached it: JSON, or text with a header a line, or anything."""

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from doctor.messages import Answer
from shared.identity_headers import IDENTITY_HEADERS

_LINE: Final = re.compile(r"""[\s"'\[{(]*([A-Za-z0-9._-]+)["'\])]*\s*(?::|=>?)\s*(.*)""").fullmatch
_NOT_THE_PATH: Final = re.compile(r"original|forwarded|rewrite|referer").search
_LONG_ENOUGH: Final = 8
_READ_AS_HYPHEN: Final = str.maketrans("_.", "--")


@dataclass(frozen=True)
class Echo:
    """What an echo was seen to show.

    Attributes:
        shown: the identity headers that it would show if they came.
        identity: the token's subject, as X-Auth-Subject.
        path: the path that it got.
    """

    shown: frozenset[str] = frozenset()
    identity: bool = False
    path: bool = False

    def __bool__(self) -> bool:
        return bool(self.shown)


def folded(name: str) -> str:
    """A name as the most forgiving application reads it: any case, `_` or `.` for `-`, and CGI's prefix."""
    return name.strip().lower().translate(_READ_AS_HYPHEN).removeprefix("http-")


IDENTITY: Final = {folded(name): name for name in IDENTITY_HEADERS}
CONTROL_HEADER: Final = "X-Gatepass-Doctor"
"""Means nothing to anybody: an echo of everything shows it."""
FAMILY_HEADER: Final = "X-Auth-Doctor"
"""Named like an identity and none: an echo of identities shows it."""
_KNOWN: Final = {*IDENTITY, folded(CONTROL_HEADER)}


def pairs(answer: Answer) -> Iterator[tuple[str, str]]:
    """Every name with its value that the answer shows, the name empty where none can be told."""
    yield from answer.fields
    text = answer.body.decode("utf-8", "replace")
    try:
        yield from _leaves(json.loads(text), "")
    except (ValueError, RecursionError):
        for line in text.splitlines():
            found = _LINE(line)
            yield (found[1], found[2]) if found else ("", line)


def shows(answer: Answer, marker: str) -> bool:
    """Whether the marker is anywhere in it."""
    return any(marker in value for _, value in pairs(answer))


def names_of(answer: Answer, marker: str) -> list[str]:
    """The names that the marker stands under."""
    return [name for name, value in pairs(answer) if marker in value]


def identity_headers(answer: Answer) -> frozenset[str]:
    """The identity headers that it names."""
    text = folded(answer.body.decode("utf-8", "replace"))
    return frozenset(name for known, name in IDENTITY.items() if known in text)


def subject_shown(answer: Answer, subject: str) -> bool:
    """Whether the application was told the subject: as X-Auth-Subject or, if it names none, in its own words."""
    if identity_headers(answer):
        return subject in subjects(answer)
    return len(subject) >= _LONG_ENOUGH and shows(answer, subject)


def subjects(answer: Answer) -> list[str]:
    """The values that it shows of X-Auth-Subject, without the empty ones."""
    values = (value.strip(" \"',;[]") for name, value in pairs(answer) if folded(name) == "x-auth-subject")
    return [value for value in values if value]


def paths(answer: Answer) -> Iterator[str]:
    """Every path that it shows, but those that a gateway notes down beside the request."""
    for name, value in pairs(answer):
        if _NOT_THE_PATH(folded(name)):
            continue
        for word in value.split():
            if word.startswith("/"):
                yield word.partition("?")[0]
            elif word.startswith(("http://", "https://")):
                yield _path_of(word)


def generously_read(path: str) -> str:
    """A path as the most forgiving application reads it: decoded, backslashes turned, parameters and dots gone."""
    decoded = unquote(path, errors="replace").replace("\\", "/")
    return posixpath.normpath("/" + re.sub(r";[^/]*", "", decoded).lstrip("/"))


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _leaves(node: Any, name: str) -> Iterator[tuple[str, str]]:
    match node:
        case str():
            yield name, node
        case dict():
            for key, value in node.items():
                yield from _leaves(value, key)
        case list():
            # Either the values of one header, or names and values in turn.
            for before, value in zip(["", *node], node, strict=False):
                known = isinstance(before, str) and folded(before) in _KNOWN
                yield from _leaves(value, before if known else name)
        case _:
            return
