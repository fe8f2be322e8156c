// jose, oauth4webapi and @sd-jwt/jwt-status-list, used as their manuals say, with a real issuer.
// test_node_libraries.py starts it and this.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { getListFromStatusListJWT, getStatusListFromJWT } from "@sd-jwt/jwt-status-list";
import * as jose from "jose";
import * as oauth from "oauth4webapi";

const { issuer, audience, machine, keyed, logins, accessToken } = JSON.parse(process.env.GATEPASS_TEST);
// The issuer of the test has no TLS.
const plain = { [oauth.allowInsecureRequests]: true };
const secret = oauth.ClientSecretBasic(machine.secret);
let server;

before(async () => {
  const url = new URL(issuer);
  const response = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...plain });
  server = await oauth.processDiscoveryResponse(url, response);
});

async function clientCredentials(client, authentication, parameters = {}) {
  const form = new URLSearchParams(parameters);
  const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, form, plain);
  return oauth.processClientCredentialsResponse(server, client, response);
}

async function refresh(client, refreshToken) {
  const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), refreshToken, plain);
  return oauth.processRefreshTokenResponse(server, client, response);
}

test("oauth4webapi gets a token with a secret", async () => {
  const client = { client_id: machine.id };
  const tokens = await clientCredentials(client, secret, { scope: "orders:read", resource: audience });
  assert.equal(tokens.token_type, "bearer");
  assert.equal(tokens.scope, "orders:read");
  const request = await oauth.introspectionRequest(server, client, secret, tokens.access_token, plain);
  const found = await oauth.processIntrospectionResponse(server, client, request);
  assert.deepEqual([found.active, found.client_id, found.aud], [true, machine.id, audience]);
});

test("oauth4webapi gets a token with a private key", async () => {
  const key = await jose.importPKCS8(keyed.key, "RS256");
  const tokens = await clientCredentials({ client_id: keyed.id }, oauth.PrivateKeyJwt({ key, kid: "k1" }));
  assert.equal(tokens.scope, "read");
});

test("oauth4webapi reads error codes", async () => {
  const client = { client_id: machine.id };
  for (const [wrong, error] of [
    [{ scope: "admin" }, "invalid_scope"],
    [{ resource: "elsewhere" }, "invalid_target"],
  ]) {
    await assert.rejects(clientCredentials(client, secret, wrong), (raised) => {
      assert(raised instanceof oauth.ResponseBodyError, raised);
      assert.deepEqual([raised.status, raised.error], [400, error]);
      return true;
    });
  }
});

test("oauth4webapi reads the challenge for a wrong secret", async () => {
  const attempt = clientCredentials({ client_id: machine.id }, oauth.ClientSecretBasic("wrong"));
  await assert.rejects(attempt, (raised) => {
    assert(raised instanceof oauth.WWWAuthenticateChallengeError, raised);
    assert.equal(raised.status, 401);
    assert.deepEqual(
      raised.cause.map(({ scheme, parameters }) => [scheme, parameters.realm]),
      [["basic", "gatepass"]],
    );
    return true;
  });
});

test("oauth4webapi refreshes a session, until it is revoked", async () => {
  const client = { client_id: "first-party" };
  const [login] = logins;
  const first = await refresh(client, login.refresh_token);
  assert.notEqual(first.refresh_token, login.refresh_token);
  const second = await refresh(client, first.refresh_token);
  assert.equal(second.scope, login.scope);
  const response = await oauth.revocationRequest(server, client, oauth.None(), second.refresh_token, plain);
  assert.equal(await oauth.processRevocationResponse(response), undefined);
  await assert.rejects(refresh(client, second.refresh_token), { status: 400, error: "invalid_grant" });
});

test("oauth4webapi gets the same successor when a response was lost", async () => {
  const client = { client_id: "first-party" };
  const [, login] = logins;
  const lost = await refresh(client, login.refresh_token);
  const retried = await refresh(client, login.refresh_token);
  assert.equal(retried.refresh_token, lost.refresh_token);
});

test("oauth4webapi accepts an access token by RFC 9068", async () => {
  const request = new Request("https://orders.example/", { headers: { Authorization: `Bearer ${accessToken}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, audience, plain);
  assert.equal(claims.client_id, machine.id);
  await assert.rejects(oauth.validateJwtAccessToken(server, request, "https://shop.example", plain));
});

test("jose verifies an access token with the published keys", async () => {
  const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
  const options = { issuer, audience, algorithms: ["RS256"], typ: "at+jwt", requiredClaims: ["sub", "exp", "jti"] };
  const { payload } = await jose.jwtVerify(accessToken, keys, options);
  assert.equal(payload.scope, "orders:read orders:write");
  const [header, claims, signature] = accessToken.split(".");
  const changed = (signature[0] === "A" ? "B" : "A") + signature.slice(1);
  await assert.rejects(jose.jwtVerify([header, claims, changed].join("."), keys, options), {
    code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
  });
});

test("sd-jwt reads in a status list that jose accepts which session is revoked", async () => {
  const [VALID, INVALID] = [0, 1];
  const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
  const [revoked, live] = logins.slice(2).map(({ access_token }) => ({
    token: access_token,
    ...getStatusListFromJWT(access_token),
  }));
  async function status({ uri, idx }) {
    const response = await fetch(uri, { headers: { Accept: "application/statuslist+jwt" } });
    assert.equal(response.headers.get("Content-Type"), "application/statuslist+jwt");
    const list = await response.text();
    const requiredClaims = ["iat", "exp", "ttl", "status_list"];
    const options = { algorithms: ["RS256"], typ: "statuslist+jwt", subject: uri, requiredClaims };
    const { payload } = await jose.jwtVerify(list, keys, options);
    assert.equal(payload.status_list.bits, 1);
    return getListFromStatusListJWT(list).getStatus(idx);
  }

  const { status_lists } = await (await fetch(server.status_list_aggregation_endpoint)).json();
  assert(status_lists.includes(revoked.uri));
  assert.deepEqual([await status(revoked), await status(live)], [VALID, VALID]);
  const headers = { Authorization: `Bearer ${revoked.token}` };
  assert.equal((await fetch(`${issuer}/logout`, { method: "POST", headers })).status, 204);
  for (let attempt = 0; attempt < 50 && (await status(revoked)) === VALID; attempt += 1) await sleep(100);
  assert.deepEqual([await status(revoked), await status(live)], [INVALID, VALID]);
});
