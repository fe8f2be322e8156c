"""What to type next: a session from registration to a refused request, for any POSIX shell."""

from stack.settings import StackSettings

_SESSION = """\
# register (once: the second time the answer is 409), log in
curl -sS -w '\\n' {issuer}/register -H 'Content-Type: application/json' -d '{account}'
TOKEN=$(curl -sS {issuer}/login -H 'Content-Type: application/json' -d '{account}' \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

# the issuer knows you; and the application behind the gateway knows who you are
curl -sS -w '\\n' {issuer}/me -H "Authorization: Bearer $TOKEN"
curl -sS {gateway}/hello -H "Authorization: Bearer $TOKEN"

# refused: without a token, and where the token does not reach
curl -sSi {gateway}/hello
curl -sSi {gateway}/admin/ -H "Authorization: Bearer $TOKEN"
"""
_ACCOUNT = '{"email": "ada@example.com", "password": "seven quiet green rivers"}'


def session(settings: StackSettings) -> str:
    """The commands, with this stack's addresses."""
    return _SESSION.format(issuer=settings.url("ISSUER_PORT"), gateway=settings.url("GATEWAY_PORT"), account=_ACCOUNT)
