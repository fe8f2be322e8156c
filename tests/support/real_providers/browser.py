"""A minimal browser: keeps cookies, follows redirects, and fills in the forms of a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

REDIRECT_URI: Final = "https://client.example/callback"
"""The URL to which providers send a browser after the login. Nothing listens there: the browser stops before it."""

_MOST_STEPS: Final = 20


@dataclass
class _Form:
    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    """The forms of a page, with the values of their fields. Of equal names, the first one counts."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(given.get("action", "")))
        elif tag in {"input", "button"} and self.forms and given.get("name"):
            self.forms[-1].fields.setdefault(given["name"], given.get("value", ""))


class Browser:
    """The browser of one user."""

    def __init__(self) -> None:
        self._http: Final = httpx.Client(
            verify=False,
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),
            event_hooks={"response": [self._keep_secure_cookies]},
        )

    @property
    def cookies(self) -> dict[str, str]:
        """Return the cookies that it holds, by name."""
        return {cookie.name: cookie.value or "" for cookie in self._http.cookies.jar}

    def visit(self, url: str, entries: Mapping[str, str]) -> dict[str, str]:
        """Open `url`, fill in each form, and return the parameters of the final redirection to the client.

        Args:
            url: of an authorization or logout request.
            entries: values for the fields of these names; other fields keep the values of the page.

        Returns:
            The parameters of the redirection to `REDIRECT_URI`, from its query or its fragment.
        """
        response = self._http.get(url)
        for _ in range(_MOST_STEPS):
            if response.has_redirect_location:
                target = urljoin(str(response.url), response.headers["Location"])
                if target.startswith(REDIRECT_URI):
                    parts = urlsplit(target)
                    return {name: values[0] for name, values in parse_qs(parts.fragment or parts.query).items()}
                response = self._http.get(target)
            else:
                response = self._submit(response, entries)
        raise AssertionError(f"the visit has not ended after {_MOST_STEPS} steps: {response.url}")

    def submit(self, url: str, entries: Mapping[str, str]) -> httpx.Response:
        """Open `url`, fill in its form, and return the response."""
        return self._submit(self._http.get(url), entries)

    def _keep_secure_cookies(self, _: httpx.Response) -> None:
        """Send `Secure` cookies without TLS, as browsers do to loopback."""
        for cookie in self._http.cookies.jar:
            cookie.secure = False

    def _submit(self, response: httpx.Response, entries: Mapping[str, str]) -> httpx.Response:
        page = _Forms()
        page.feed(response.text)
        assert response.is_success, f"{response.url}: {response.status_code} {response.text}"
        assert page.forms, f"no form at {response.url}: {response.text}"
        form = page.forms[0]
        filled = form.fields | {name: value for name, value in entries.items() if name in form.fields}
        return self._http.post(urljoin(str(response.url), form.action), data=filled)
