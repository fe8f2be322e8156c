// An OpenID provider for the tests: npm's oidc-provider with three signing keys, one per algorithm that it can use
// for an access token of each of three APIs. Its own development pages ask for the login and the consent.
import { generateKeyPairSync } from 'node:crypto';

import Provider from 'oidc-provider';

const { PORT, LOGOUT_URL, REPORTS_JWKS, REDIRECT_URI } = process.env;
const ALGORITHMS = ['ES256', 'EdDSA', 'PS256'];
const SCOPES = 'orders:read orders:write';

const KEYS = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
};

function signingKey(alg) {
  const { privateKey } = KEYS[alg]();
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `the ${alg} key` };
}

function responsesSignedWith(alg) {
  return Object.fromEntries(
    ['id_token', 'userinfo', 'introspection', 'authorization'].map((kind) => [`${kind}_signed_response_alg`, alg]),
  );
}

// One client per algorithm, so that ID tokens, userinfo, logout tokens and the like exist in each of them.
function webClient(alg) {
  return {
    client_id: `web-${alg}`,
    token_endpoint_auth_method: 'none',
    redirect_uris: [REDIRECT_URI],
    grant_types: ['authorization_code', 'refresh_token', 'implicit'],
    response_types: ['code', 'code id_token', 'id_token'],
    ...responsesSignedWith(alg),
    backchannel_logout_uri: LOGOUT_URL,
    backchannel_logout_session_required: true,
  };
}

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  jwks: { keys: ALGORITHMS.map(signingKey) },
  enabledJWA: Object.fromEntries(
    ['clientAuth', 'idToken', 'userinfo', 'introspection', 'authorization', 'dPoP'].map((use) => [
      `${use}SigningAlgValues`,
      ALGORITHMS,
    ]),
  ),
  cookies: { keys: ['cookies of the tests'] },
  scopes: ['openid', 'offline_access', ...SCOPES.split(' ')],
  clients: [
    ...ALGORITHMS.map(webClient),
    {
      client_id: 'reports',
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: JSON.parse(REPORTS_JWKS),
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
      ...responsesSignedWith('ES256'),
    },
  ],
  // It sends nothing to loopback by default, and there the receiver of logout tokens listens.
  fetch: (url, options) => globalThis.fetch(url, { ...options, dispatcher: undefined }),
  // Every login name is an account, and it is the subject.
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: 'Ada Lovelace' }) }),
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtIntrospection: { enabled: true },
    jwtResponseModes: { enabled: true },
    jwtUserinfo: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      // https://orders.example/ES256 is an API whose access tokens are JWTs (RFC 9068) with an ES256 signature.
      getResourceServerInfo: (_ctx, resource) => ({
        scope: SCOPES,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: ALGORITHMS.find((alg) => resource.includes(`/${alg}`)) } },
      }),
    },
  },
});
provider.listen(Number(PORT), '127.0.0.1');
