// The TypeScript client of docs/clients, compiled, with a real issuer. test_typescript_example.py starts both.
import assert from "node:assert/strict";
import { test } from "node:test";

// `issuer` is the real one. `proxy` is before it and fails every first attempt.
const { issuer, proxy, email, password, expired, rejected, revoked } = JSON.parse(process.env.GATEPASS_TEST);
const { LoginFailedError, LoginRequiredError, Session } = await import(`file://${process.cwd()}/gatepass-client.js`);
const { printNotes } = await import(`file://${process.cwd()}/example.js`);

function old(login) {
  return { accessToken: login.access_token, refreshToken: login.refresh_token, expiresAt: 0 };
}

function inParallel(session, url) {
  return Promise.all(Array.from({ length: 8 }, async () => (await session.fetch(url)).status));
}

test("a session lasts from the login to the logout", async () => {
  const saved = [];
  const session = new Session(proxy, { save: (tokens) => saved.push(tokens) });
  await session.login(email, password);
  const response = await session.fetch(`${issuer}/me`);
  assert.equal((await response.json()).email, email);
  await session.logout();
  await session.logout();
  assert.equal(saved.length, 2);
  assert.equal(saved[1], null);
  const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token: saved[0].refreshToken });
  const rejected = await fetch(`${issuer}/token`, { method: "POST", body: form });
  assert.deepEqual(await rejected.json(), { error: "invalid_grant" });
  await assert.rejects(session.fetch(`${issuer}/me`), LoginRequiredError);
});

test("parallel requests share one refresh whose response is lost", async () => {
  const saved = [];
  const session = new Session(proxy, { tokens: old(expired), save: (tokens) => saved.push(tokens) });
  assert.deepEqual(await inParallel(session, `${proxy}/me`), Array(8).fill(200));
  assert.equal(saved.length, 1);
});

test("a rejected access token is refreshed once", async () => {
  const tokens = { ...old(rejected), accessToken: "rejected", expiresAt: Date.now() + 600_000 };
  const session = new Session(proxy, { tokens });
  assert.deepEqual(await inParallel(session, `${issuer}/me`), Array(8).fill(200));
});

test("a session that was revoked elsewhere needs a login", async () => {
  const saved = [];
  const session = new Session(issuer, { tokens: old(revoked), save: (tokens) => saved.push(tokens) });
  await assert.rejects(session.fetch(`${issuer}/me`), LoginRequiredError);
  assert.deepEqual(saved, [null]);
});

test("a wrong password fails the login", async () => {
  await assert.rejects(new Session(issuer).login(email, "a wrong password"), LoginFailedError);
});

test("the example of the page runs", async (context) => {
  const log = context.mock.method(console, "log", () => {});
  await printNotes(email, password);
  assert.equal(log.mock.calls[0].arguments[0].email, email);
});
