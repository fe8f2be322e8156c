"""The commands that `make run` prints: a session from registration to a rejected request, for any POSIX shell."""

from stack.settings import StackSettings

_SESSION = """\
# register (a second time returns 409), log in
curl -sS -w '\\n' {issuer}/register -H 'Content-Type: application/json' -d '{account}'
LOGIN=$(curl -sS {issuer}/login -H 'Content-Type: application/json' -d '{account}')
part() {{ python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }}
TOKEN=$(printf %s "$LOGIN" | part access_token)

# the issuer knows the account, and the application behind the gateway gets its identity
curl -sS -w '\\n' {issuer}/me -H "Authorization: Bearer $TOKEN"
curl -sS {gateway}/hello -H "Authorization: Bearer $TOKEN"

# rejected: without a token, and without the required scope
curl -sSi {gateway}/hello
curl -sSi {gateway}/admin/ -H "Authorization: Bearer $TOKEN"

# exchange the refresh token for new tokens
REFRESH=$(printf %s "$LOGIN" | part refresh_token)
TOKEN=$(curl -sS {issuer}/token -d grant_type=refresh_token -d client_id=first-party -d "refresh_token=$REFRESH" \\
  | part access_token)
curl -sS {gateway}/hello -H "Authorization: Bearer $TOKEN"

# log out: within about 3 seconds the gateway rejects all tokens of the session
curl -sS -X POST {issuer}/logout -H "Authorization: Bearer $TOKEN"
sleep 4
curl -sSi {gateway}/hello -H "Authorization: Bearer $TOKEN"
"""
_ACCOUNT = '{"email": "ada@example.com", "password": "seven quiet green rivers"}'


def session(settings: StackSettings) -> str:
    """Return the commands with the URLs of this stack."""
    return _SESSION.format(issuer=settings.url("ISSUER_PORT"), gateway=settings.url("GATEWAY_PORT"), account=_ACCOUNT)
