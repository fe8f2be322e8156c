"""Reads from an echo what the application received. The echo may be JSON, a header per line, or any text."""

import contextlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from doctor.messages import Response
from shared.identity_headers import IDENTITY_HEADERS

_parse_line: Final = re.compile(r"""[\s"'\[{(]*([A-Za-z0-9._-]+)["'\])]*\s*(?::|=>?)\s*(.*)""").fullmatch
# Names of headers in which gateways record the original path, which need not be what the application serves.
_names_original_path: Final = re.compile(r"original|forwarded|rewrite|referer").search
MIN_SUBJECT_LENGTH: Final = 8
"""A shorter subject could occur in any text by chance."""

_TO_HYPHEN: Final = str.maketrans("_.", "--")


@dataclass(frozen=True)
class Echo:
    """The parts of a request that the echo shows. As a condition it is false if it shows no identity header.

    Attributes:
        shown: the identity headers that would appear if the application received them.
        identity: it shows the token's subject as X-Auth-Subject.
        path: it shows the path that the application received.
    """

    shown: frozenset[str] = frozenset()
    identity: bool = False
    path: bool = False

    def __bool__(self) -> bool:
        return bool(self.shown)


def normalize_header_name(name: str) -> str:
    """Return the name as the most lenient application reads it: any case, `_` or `.` for `-`, and CGI's prefix."""
    return name.strip().lower().translate(_TO_HYPHEN).removeprefix("http-")


CANARY_HEADER: Final = "X-Gatepass-Doctor"
"""A header without meaning: an echo of all headers shows it."""
IDENTITY_LIKE_HEADER: Final = "X-Auth-Doctor"
"""A header with the prefix of the identity headers: an echo of that prefix shows it."""
_IDENTITY: Final = frozenset(map(normalize_header_name, IDENTITY_HEADERS))
_KNOWN_NAMES: Final = {*_IDENTITY, normalize_header_name(CANARY_HEADER)}


def name_value_pairs(response: Response) -> Iterator[tuple[str, str]]:
    """Yield the names and values in the fields and body; the name is empty for text without one."""
    yield from response.fields
    text = response.body.decode("utf-8", "replace")
    try:
        yield from _json_strings(json.loads(text), "")
    except (ValueError, RecursionError):
        for line in text.splitlines():
            found = _parse_line(line)
            yield (found[1], found[2]) if found else ("", line)


def contains(response: Response, text: str) -> bool:
    """Return whether any value of the response contains `text`."""
    return any(text in value for _, value in name_value_pairs(response))


def has_identity_fields(response: Response) -> bool:
    """Return whether identity headers are fields of the response itself."""
    return any(normalize_header_name(name) in _IDENTITY for name, _ in response.fields)


def identity_headers(response: Response) -> frozenset[str]:
    """Return the identity headers whose names are in the body."""
    return names_shown(response, IDENTITY_HEADERS)


def names_shown(response: Response, names: Iterable[str]) -> frozenset[str]:
    """Return those of the header names that are in the body."""
    text = normalize_header_name(response.body.decode("utf-8", "replace"))
    return frozenset(name for name in names if normalize_header_name(name) in text)


def subject_shown(response: Response, subject: str) -> bool:
    """Return whether the application received `subject`.

    The subject is in X-Auth-Subject or, if the response names no identity header, anywhere in the text.
    """
    if identity_headers(response):
        return subject in subjects(response)
    return len(subject) >= MIN_SUBJECT_LENGTH and contains(response, subject)


def subjects(response: Response) -> list[str]:
    """Return the non-empty values of X-Auth-Subject in the response."""
    values = (
        value.strip(" \"',;[]")
        for name, value in name_value_pairs(response)
        if normalize_header_name(name) == "x-auth-subject"
    )
    return [value for value in values if value]


def paths(response: Response) -> Iterator[str]:
    """Yield the paths in the response, except in headers where a gateway records the original path."""
    for name, value in name_value_pairs(response):
        if _names_original_path(normalize_header_name(name)):
            continue
        for word in value.split():
            if word.startswith("/"):
                yield word.partition("?")[0]
            elif word.startswith(("http://", "https://")):
                with contextlib.suppress(ValueError):
                    yield urlsplit(word).path


def normalize_leniently(path: str) -> str:
    """Return the path as the most lenient application reads it.

    It is percent-decoded, backslashes become slashes, parameters (`;x`) are removed and dot segments resolved. A
    final newline is removed too, since Python's `$` matches before it.
    """
    decoded = unquote(path, errors="replace").removesuffix("\n").replace("\\", "/")
    return posixpath.normpath("/" + re.sub(r";[^/]*", "", decoded).lstrip("/"))


def _json_strings(node: Any, name: str) -> Iterator[tuple[str, str]]:
    match node:
        case str():
            yield name, node
        case dict():
            for key, value in node.items():
                yield from _json_strings(value, key)
        case list():
            # Either all values of one header, or alternating names and values (Node's rawHeaders).
            for before, value in zip(["", *node], node, strict=False):
                is_name = isinstance(before, str) and normalize_header_name(before) in _KNOWN_NAMES
                yield from _json_strings(value, before if is_name else name)
        case _:
            return
