"""Pages for a real browser: one with the scripts of `docs/guides/browser-application.md`, and one that attacks them.

Constants in capitals are inserted before their scripts.
"""

import json
from typing import Any, Final

VISIT: Final = """\
<!doctype html><title>visit</title><body><script type="module">
import { call } from "./session.js";

const status = async (path, options) => (await fetch(path, options)).status;
const message = (source) => new Promise((done) => {
  source.onmessage = (event) => done(event.data);
  source.onerror = () => done("error");
});
const until = async (happened) => {
  while (!(await happened())) await new Promise((done) => setTimeout(done, 50));
};
const opened = (url) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.src = url;
  frame.onload = () => done(frame.contentWindow);
  document.body.append(frame);
});
const refresh = () =>
  status("/auth/token", { method: "POST", body: new URLSearchParams({ grant_type: "refresh_token" }) });
const report = (document) =>
  fetch(`${REPORTS}/report`, { method: "POST", mode: "no-cors", body: JSON.stringify(document) });

async function before() {
  const seen = { before: [await status("/notes"), await refresh()] };
  const page = await opened("index.html");
  const [login, add] = ["login", "add"].map((id) => page.document.getElementById(id));
  login.email.value = EMAIL;
  login.password.value = PASSWORD;
  while (add.hidden) {  // a busy issuer rejects a login with 503
    login.requestSubmit();
    for (let tries = 0; tries < 200 && add.hidden; tries += 1) await new Promise((done) => setTimeout(done, 50));
  }
  add.note.value = "by the page";
  add.requestSubmit();
  await until(() => page.document.querySelector("li"));
  seen.readable = document.cookie;
  seen.notes = await (await call("/notes")).json();
  seen.events = await message(new EventSource("/events"));
  await call("/notes");
  const socket = new WebSocket(`wss://${location.host}/ws/notes`);
  socket.onopen = () => socket.send("by a socket");
  seen.websocket = await message(socket);
  await report(seen);
  location = `${ATTACKS[0]}/attack#0`;
}

async function after() {
  const seen = { still: (await call("/notes")).status };
  await until(async () => (await status("/notes")) === 401);
  const tabs = await Promise.all(Array.from({ length: 5 }, () => opened("tab.html")));
  seen.tabs = await Promise.all(tabs.map(async (tab) => (await tab.call("/notes")).status));
  seen.parallel = await Promise.all(Array.from({ length: 5 }, refresh));
  seen.refreshed = await status("/notes");
  seen.notes_afterwards = await (await call("/notes")).json();
  const page = await opened("index.html");
  await until(() => !page.document.getElementById("logout").hidden);
  page.document.getElementById("logout").click();
  await until(() => !page.document.getElementById("login").hidden);
  seen.after_logout = await status("/notes");
  seen.refresh_after_logout = await refresh();
  seen.finished = true;
  await report(seen);
}

(location.hash ? after() : before()).catch((error) => report({ finished: true, error: `${error}` }));
</script>
"""

TAB: Final = """\
<!doctype html><title>tab</title><script type="module">
import { call } from "./session.js";
window.call = call;
</script>
"""

ATTACK: Final = """\
<!doctype html><title>attack</title><body><script>
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const settled = (promise) => promise.catch(() => 0);
const ended = (source) => new Promise((done) => { source.onerror = source.onclose = source.onmessage = done; });
const load = (element, attributes) => new Promise((done) => {
  element.onload = element.onerror = done;
  document.body.append(Object.assign(element, attributes));
});
const report = (document) =>
  fetch(`${REPORTS}/report`, { method: "POST", mode: "no-cors", body: JSON.stringify(document) });

// Submit a form into a frame, and into a window of its own.
async function forge(action, fields, enctype = "application/x-www-form-urlencoded", method = "POST") {
  const form = Object.assign(document.createElement("form"), { action, method, enctype, target: "forged" });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  document.body.append(form);
  const frame = document.createElement("iframe");
  await load(frame, { name: "forged" });
  const answered = new Promise((done) => { frame.onload = done; });
  form.submit();
  await Promise.race([answered, pause(3000)]);
  frame.remove();
  const opened = window.open("about:blank", "forged");
  form.submit();
  const isForeign = () => { try { return !opened.document; } catch { return true; } };
  for (let tries = 0; tries < 100 && !isForeign(); tries += 1) await pause(20);
  opened.close();
  form.remove();
}

async function attack() {
  const credentials = "include";
  for (const method of ["GET", "POST"]) {
    await settled(fetch(`${TARGET}/notes?note=attack-fetch`, { method, mode: "no-cors", credentials }));
  }
  await settled(fetch(`${TARGET}/notes?note=attack-cors`, { method: "DELETE", credentials }));
  await load(new Image(), { src: `${TARGET}/notes?note=attack-image` });
  await ended(new EventSource(`${TARGET}/events?attack`, { withCredentials: true }));
  await ended(new WebSocket(`${TARGET.replace("http", "ws")}/ws/notes?attack`));
  await forge(`${TARGET}/notes?note=attack-form`, { note: "attack" });
  await forge(`${TARGET}/notes`, { note: "attack-link" }, undefined, "GET");

  const login = { email: MALLORY, password: PASSWORD, cookies: true };
  const body = JSON.stringify(login);
  await forge(`${TARGET}/auth/login`, { [body.slice(0, -1) + ', "scope": "']: 'profile"}' }, "text/plain");
  await forge(`${TARGET}/auth/login`, login);
  for (const type of ["text/plain", "application/json"]) {
    const request = { method: "POST", headers: { "Content-Type": type }, body, credentials };
    await settled(fetch(`${TARGET}/auth/login`, request));
    await settled(fetch(`${TARGET}/auth/login`, { ...request, mode: "no-cors" }));
    await settled(fetch(`${TARGET}/auth/login`, { ...request, credentials: "omit" }));
  }
  const refresh = { grant_type: "refresh_token" };
  await forge(`${TARGET}/auth/token`, refresh);
  await settled(fetch(`${TARGET}/auth/token`, { method: "POST", body: new URLSearchParams(refresh), credentials }));
  await forge(`${TARGET}/auth/logout`, {});
  await settled(fetch(`${TARGET}/auth/logout`, { method: "POST", credentials }));
}

// Set cookies for the application, whose host is another one.
function plant() {
  for (const [name, value] of Object.entries(PLANTED)) {
    for (const domain of ["", "; Domain=example.com", "; Domain=app.example.com"]) {
      document.cookie = `${name}=${value}; Path=/; Secure${domain}`;
      // A cookie without a name, whose value looks like another cookie.
      document.cookie = `=${name}=${value}; Path=/; Secure${domain}`;
    }
  }
}

(async () => {
  const place = location.hash ? Number(location.hash.slice(1)) : -1;
  await report({ attacks: location.origin });
  plant();
  if (place >= 0) await attack();
  await report({ attacked: place });
  if (place < 0) location = `${TARGET}/static/visit.html`;
  else if (place + 1 < ATTACKS.length) location = `${ATTACKS[place + 1]}/attack#${place + 1}`;
  else location = `${TARGET}/static/visit.html#after`;
})().catch((error) => report({ finished: true, error: `${error}` }));
</script>
"""


def with_constants(page: str, constants: dict[str, Any]) -> str:
    """Return a page with these constants before its scripts."""
    declared = "".join(f"const {name} = {json.dumps(value)};" for name, value in constants.items())
    return page.replace("<body>", f"<body><script>{declared}</script>")
