"""Our nginx configuration with one common mistake each, and an HAProxy that forwards all requests."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack import gateway_config
from tests.support.nginx import FOREGROUND, nginx_command
from tests.support.processes import free_port, listens, running
from tests.support.programs import program

_HAPROXY: Final = """\
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
frontend front
    bind 127.0.0.1:{port}
    {lines}
    default_backend gateway
backend gateway
    server gateway 127.0.0.1:{behind}
"""

FIRST_TOKEN_WINS: Final = (
    "http-request set-header Authorization %[req.hdr(authorization,1)] if { req.hdr(authorization) -m found }"
)


@dataclass(frozen=True)
class Addresses:
    """The ports of a stack, and a free one for the gateway."""

    port: int
    verifier: int
    verifier_admin: int
    application: int


def secure(addresses: Addresses) -> str:
    """Return our configuration unchanged."""
    ports = {
        "GATEWAY_PORT": str(addresses.port),
        "VERIFIER_PORT": str(addresses.verifier),
        "APPLICATION_PORT": str(addresses.application),
    }
    return gateway_config.files("nginx", ports)["gatepass.conf"]


def _without(*patterns: str, instead: str = "") -> Callable[[str, Addresses], str]:
    def broken(configuration: str, _: Addresses) -> str:
        for pattern in patterns:
            configuration, count = re.subn(pattern, instead, configuration, flags=re.MULTILINE)
            assert count, pattern
        return configuration

    return broken


def _also(lines: str) -> Callable[[str, Addresses], str]:
    """Add `lines` to the server block."""

    def broken(configuration: str, addresses: Addresses) -> str:
        added = lines.replace("ADMIN_PORT", str(addresses.verifier_admin))
        return configuration.replace("    # POLICIES.", f"{added}\n    # POLICIES.", 1)

    return broken


def _behind_a_front(lines: str) -> Callable[[str, Addresses], str]:
    """Move our gateway to another port, behind an nginx that forwards all requests."""

    def broken(configuration: str, addresses: Addresses) -> str:
        behind = free_port()
        passing = f"{lines} location / {{ proxy_pass http://127.0.0.1:{behind}; }}"
        front = f"server {{ listen 127.0.0.1:{addresses.port}; {passing} }}"
        return configuration.replace(f"listen 127.0.0.1:{addresses.port};", f"listen 127.0.0.1:{behind};") + front

    return broken


def _before_an_application(lines: str) -> Callable[[str, Addresses], str]:
    """Configure our gateway for another application."""

    def broken(configuration: str, addresses: Addresses) -> str:
        other = free_port()
        application = f"server {{ listen 127.0.0.1:{other}; location / {{ {lines} }} }}"
        return configuration.replace(f"127.0.0.1:{addresses.application};", f"127.0.0.1:{other};") + application

    return broken


def _with_an_open_default_site(configuration: str, addresses: Addresses) -> str:
    named = configuration.replace(
        f"listen 127.0.0.1:{addresses.port};", f"listen 127.0.0.1:{addresses.port}; server_name 127.0.0.1;"
    )
    site = f"listen 127.0.0.1:{addresses.port} default_server; location / {{ proxy_pass http://application; }}"
    return f"{named} server {{ {site} }}"


BROKEN: Final[dict[str, Callable[[str, Addresses], str]]] = {
    "identity headers are not overwritten": _without(r"^ *proxy_set_header X-Auth-.*$"),
    "one identity header is not overwritten": _without(r"^ *proxy_set_header X-Auth-Roles .*$"),
    "a location sets a header of its own": lambda configuration, _: configuration.replace(
        "proxy_pass http://application/;", "proxy_pass http://application/; proxy_set_header X-Own yes;"
    ),
    "underscores are allowed": _without(r"underscores_in_headers off", instead="underscores_in_headers on"),
    "the verifier is not called": _without(r"^ *auth_request /gatepass/.*$"),
    "the challenge is lost": _behind_a_front("proxy_hide_header WWW-Authenticate;"),
    "a rejection becomes a redirect": _also(
        "error_page 401 = @login; location @login { auth_request off; return 302 /login; }"
    ),
    "preflights are accepted": _also("if ($request_method = OPTIONS) { return 204; }"),
    "ambiguous paths are forwarded unchanged": _without(
        r'^    "~\*\^\[\^\?\].*$', r"(?<=http://application)/[a-z/]*"
    ),
    "control characters are forwarded": _without(r"\|\[01\]\[0-9a-f\]\|7f"),
    "a token in the query is accepted": _without(
        r"Authorization \$http_authorization", instead='Authorization "$http_authorization$bearer_of_query"'
    ),
    "the verifier's endpoints are routed": _also(
        "location ~ ^/(healthz|readyz|metrics)$ { auth_request off; proxy_pass http://127.0.0.1:ADMIN_PORT; }\n"
        "location /verify { auth_request off; proxy_pass http://verifier; }"
    ),
    "the identity is sent to the client": _also("add_header X-Auth-Subject $auth_subject always;"),
    "the application receives another subject": _without(r"(X-Auth-Subject +)\$auth_subject", instead=r"\1other"),
    "any upgrade is tunnelled": _without(
        r"Upgrade +\$websocket;\n.*Connection +\$websocket_connection;",
        instead="Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
    ),
    "another site of the port is open": _with_an_open_default_site,
    "the route has no echo": _before_an_application("default_type text/plain; return 200 hello;"),
    "the route shows only the subject": _before_an_application(
        'default_type application/json; return 200 \'{"x-auth-subject": "$http_x_auth_subject"}\';'
    ),
    "the route does not exist": _before_an_application("return 404;"),
    "ambiguous paths lead to a page without an echo": lambda configuration, addresses: _before_an_application(
        "default_type text/plain; return 200 hello;"
    )(BROKEN["ambiguous paths are forwarded unchanged"](configuration, addresses), addresses),
    "an outage is 500": _without(r"^ *error_page 500 .*$"),
    "the application echoes everything": _before_an_application(
        'default_type application/json; return 200 \'{"x-auth-subject": "$http_x_auth_subject", "all": '
        '"$http_authorization $http_x_gatepass_doctor $http_cookie", "path": "$request_uri"}\';'
    ),
    "the application fails": _before_an_application("return 500;"),
}


@contextmanager
def broken_nginx(what: str, folder: Path, addresses: Addresses) -> Iterator[int]:
    """Run nginx with the mistake `what` of `BROKEN`; yield its port."""
    query = 'map $request_uri $bearer_of_query { default ""; "~access_token=(?<given>.+)" "Bearer $given"; }\n'
    with running_nginx(query + BROKEN[what](secure(addresses), addresses), folder, addresses.port) as port:
        yield port


@contextmanager
def running_nginx(configuration: str, folder: Path, port: int) -> Iterator[int]:
    """Run nginx with `configuration` in its http context; yield its port."""
    command = [*nginx_command(folder, configuration), *FOREGROUND]
    with running(command, folder / "nginx.log", ready=lambda: listens(port)):
        yield port


@contextmanager
def running_haproxy(lines: str, folder: Path, behind: int) -> Iterator[int]:
    """Run HAProxy with `lines` in its frontend, in front of the port `behind`; yield its port."""
    port, conf = free_port(), folder / "haproxy.cfg"
    conf.write_text(_HAPROXY.format(port=port, behind=behind, lines=lines), encoding="utf-8")
    command = [program("haproxy"), "-db", "-f", str(conf)]
    with running(command, folder / "haproxy.log", ready=lambda: listens(port)):
        yield port
