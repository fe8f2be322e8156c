/**
 * A user's session at a Gatepass issuer: log in, send requests with the access token, log out.
 *
 * For browsers and for Node.js 20 or newer. Copy this file into your application; it needs no package.
 */

const ATTEMPTS = 4;
const MAX_WAIT_SECONDS = 30;
const REFRESH_BEFORE_EXPIRY_MS = 30_000;
const ISSUER_TIMEOUT_MS = 10_000;

/** A request to the issuer failed. */
export class GatepassError extends Error {}

/** The email or the password is wrong. */
export class LoginFailedError extends GatepassError {}

/** There is no session, or it is over: the user has to log in. */
export class LoginRequiredError extends GatepassError {}

/** The issuer is overloaded, or asks to wait for longer than this client does. */
export class UnavailableError extends GatepassError {}

/** The tokens of a session. `expiresAt`: when the access token expires, in milliseconds since 1970. */
export interface Tokens {
  accessToken: string;
  refreshToken: string;
  expiresAt: number;
}

export interface SessionOptions {
  /** Of an earlier run of the application. */
  tokens?: Tokens;
  /** Is called with new tokens before they are used, and with null when they are discarded. */
  save?: (tokens: Tokens | null) => void | Promise<void>;
  /** Of the application, if the operator has registered one. */
  clientId?: string;
}

/** The session of one user. */
export class Session {
  readonly #issuer: string;
  readonly #clientId: string;
  readonly #save: (tokens: Tokens | null) => void | Promise<void>;
  #tokens: Tokens | null;
  /** Settled when nothing reads or changes the tokens. */
  #idle: Promise<unknown> = Promise.resolve();

  constructor(issuer: string, options: SessionOptions = {}) {
    this.#issuer = issuer.replace(/\/$/, "");
    this.#clientId = options.clientId ?? "first-party";
    this.#save = options.save ?? (() => {});
    this.#tokens = options.tokens ?? null;
  }

  /** Log in. Throws LoginFailedError, UnavailableError, or what `fetch` throws if the issuer cannot be reached. */
  async login(email: string, password: string): Promise<void> {
    const body = JSON.stringify({ email, password, client_id: this.#clientId });
    const response = await this.#post("/login", body, { "Content-Type": "application/json" });
    if (response.status === 401) throw new LoginFailedError("the email or the password is wrong");
    const tokens = await readTokens(response);
    await this.#exclusively(() => this.#set(tokens));
  }

  /**
   * Send a request with the access token, as the global `fetch` does. The body must not be a stream.
   *
   * Throws LoginRequiredError, UnavailableError if the issuer asks to wait, or what `fetch` throws.
   */
  async fetch(url: string | URL, init: RequestInit = {}): Promise<Response> {
    const used = await this.#accessToken();
    const response = await this.#fetchWith(used, url, init);
    if (response.status !== 401) return response;
    await response.body?.cancel();
    return this.#fetchWith(await this.#accessToken(used), url, init);
  }

  /** Revoke the session. The tokens are discarded even if this throws; then the session expires later. */
  async logout(): Promise<void> {
    await this.#exclusively(async () => {
      const tokens = this.#tokens;
      if (tokens === null) return;
      await this.#set(null);
      // The refresh token revokes the session after the access token has expired, too.
      const form = new URLSearchParams({ token: tokens.refreshToken, client_id: this.#clientId });
      check(await this.#post("/revoke", form, {}, true));
    });
  }

  #fetchWith(accessToken: string, url: string | URL, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${accessToken}`);
    return repeated(() => fetch(url, { ...init, headers }), false);
  }

  /**
   * Return an access token, refreshed if need be.
   *
   * `rejected` is one that a server rejected. Meanwhile, another request may have refreshed it.
   */
  #accessToken(rejected?: string): Promise<string> {
    return this.#exclusively(async () => {
      if (this.#tokens === null) throw new LoginRequiredError("there is no session");
      const expiresSoon = this.#tokens.expiresAt - Date.now() < REFRESH_BEFORE_EXPIRY_MS;
      const tokens = expiresSoon || this.#tokens.accessToken === rejected ? await this.#refresh(this.#tokens) : this.#tokens;
      return tokens.accessToken;
    });
  }

  async #refresh({ refreshToken }: Tokens): Promise<Tokens> {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      refresh_token: refreshToken,
      client_id: this.#clientId,
    });
    // A repeated refresh returns the same new tokens, for two minutes.
    const response = await this.#post("/token", form, {}, true);
    if (response.status === 400 && (await response.clone().json()).error === "invalid_grant") {
      await this.#set(null);
      throw new LoginRequiredError("the session is over");
    }
    const tokens = await readTokens(response);
    await this.#set(tokens);
    return tokens;
  }

  async #set(tokens: Tokens | null): Promise<void> {
    await this.#save(tokens);
    this.#tokens = tokens;
  }

  /** Run one `work` at a time. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#idle.then(work);
    this.#idle = result.catch(() => {});
    return result;
  }

  #post(path: string, body: BodyInit, headers: HeadersInit, repeatIfLost = false): Promise<Response> {
    return repeated(async () => {
      const signal = AbortSignal.timeout(ISSUER_TIMEOUT_MS);
      const response = await fetch(this.#issuer + path, { method: "POST", body, headers, signal, redirect: "error" });
      // Read here, so that a response that is cut off counts as lost.
      return new Response(await response.text(), response);
    }, repeatIfLost);
  }
}

/** Repeat a request as long as the response asks for it, and optionally after a failed connection. */
async function repeated(attempt: () => Promise<Response>, repeatIfLost: boolean): Promise<Response> {
  for (let count = 1; ; count++) {
    let pause: number | null;
    try {
      const response = await attempt();
      pause = retryAfterMs(response);
      if (pause === null || count === ATTEMPTS) return response;
      await response.body?.cancel();
    } catch (error) {
      if (!repeatIfLost || count === ATTEMPTS) throw error;
      pause = count * 500;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function retryAfterMs(response: Response): number | null {
  const after = response.headers.get("Retry-After") ?? "";
  const asksToWait = (response.status === 429 || response.status === 503) && /^[0-9]+$/.test(after);
  return asksToWait && Number(after) <= MAX_WAIT_SECONDS ? Number(after) * 1000 : null;
}

function check(response: Response): void {
  if (response.status === 429 || response.status === 503) {
    throw new UnavailableError(`the issuer asks to retry after ${response.headers.get("Retry-After")} seconds`);
  }
  if (response.status !== 200) throw new GatepassError(`the issuer responded with ${response.status}`);
}

async function readTokens(response: Response): Promise<Tokens> {
  check(response);
  const body = await response.json();
  return {
    accessToken: body.access_token,
    refreshToken: body.refresh_token,
    expiresAt: Date.now() + body.expires_in * 1000,
  };
}
