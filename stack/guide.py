"""What to type next: a session from registration to a refused request, for any POSIX shell."""

from stack.settings import StackSettings

_SESSION = """\
# register (once: the second time the answer is 409), log in
curl -sS -w '\\n' {issuer}/register -H 'Content-Type: application/json' -d '{account}'
LOGIN=$(curl -sS {issuer}/login -H 'Content-Type: application/json' -d '{account}')
part() {{ python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }}
TOKEN=$(printf %s "$LOGIN" | part access_token)

# the issuer knows you; and the application behind the gateway knows who you are
curl -sS -w '\\n' {issuer}/me -H "Authorization: Bearer $TOKEN"
curl -sS {gateway}/hello -H "Authorization: Bearer $TOKEN"

# refused: without a token, and where the token does not reach
curl -sSi {gateway}/hello
curl -sSi {gateway}/admin/ -H "Authorization: Bearer $TOKEN"

# new tokens for the refresh token
REFRESH=$(printf %s "$LOGIN" | part refresh_token)
TOKEN=$(curl -sS {issuer}/token -d grant_type=refresh_token -d client_id=first-party -d "refresh_token=$REFRESH" \\
  | part access_token)
curl -sS {gateway}/hello -H "Authorization: Bearer $TOKEN"

# log out: a moment later the gateway refuses the token, and the one before it
curl -sS -X POST {issuer}/logout -H "Authorization: Bearer $TOKEN"
sleep 3
curl -sSi {gateway}/hello -H "Authorization: Bearer $TOKEN"
"""
_ACCOUNT = '{"email": "ada@example.com", "password": "seven quiet green rivers"}'


def session(settings: StackSettings) -> str:
    """The commands, with this stack's addresses."""
    return _SESSION.format(issuer=settings.url("ISSUER_PORT"), gateway=settings.url("GATEWAY_PORT"), account=_ACCOUNT)
