// An OpenID provider (oidc-provider) on a free port of the loopback, and the tokens that a client gets from it
// or makes up. Prints its port; GET /test/tokens, /test/rotate and /test/fetches are for the test.
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { SignJWT, exportJWK } from 'jose';
import { Provider } from 'oidc-provider';

const KINDS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};
const clients = ['acme', 'junheng'].map((client_id) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
}));

let generation = 0;
let fetches = 0;
let keys;
let callback;

const server = createServer(async (request, response) => {
  if (request.url === '/jwks') fetches += 1;
  if (!request.url.startsWith('/test/')) return callback(request, response);
  const answer = { '/test/tokens': tokens, '/test/rotate': rotate, '/test/fetches': () => fetches }[request.url];
  response.end(JSON.stringify(await answer()));
});
server.listen(0, '127.0.0.1', async () => {
  await rotate();
  console.log(server.address().port);
});

const issuer = () => `http://127.0.0.1:${server.address().port}`;

async function rotate() {
  generation += 1;
  keys = {};
  for (const [alg, make] of Object.entries(KINDS)) {
    const pair = make();
    const jwk = { ...(await exportJWK(pair.privateKey)), alg, use: 'sig', kid: `${alg}-${generation}` };
    keys[alg] = { ...pair, jwk };
  }
  const provider = new Provider(issuer(), {
    clients,
    jwks: { keys: Object.values(keys).map(({ jwk }) => jwk) },
    scopes: ['api'],
    enabledJWA: { idTokenSigningAlgValues: Object.keys(KINDS) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        // urn:<audience>:<algorithm>
        getResourceServerInfo: (_, resource) => {
          const [, audience, alg] = resource.split(':');
          return { scope: 'api', audience, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
        },
      },
    },
  });
  callback = provider.callback();
  return generation;
}

async function granted(resource) {
  const form = new URLSearchParams({ grant_type: 'client_credentials', scope: 'api', ...resource && { resource } });
  const authorization = `Basic ${Buffer.from('acme:acme-secret').toString('base64')}`;
  const answer = await fetch(`${issuer()}/token`, { method: 'POST', body: form, headers: { authorization } });
  const { access_token, ...rest } = await answer.json();
  return access_token ?? JSON.stringify(rest);
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function tokens() {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer(), aud: 'api', client_id: 'acme', sub: 'acme', iat: now, exp: now + 600 };
  const made = (claims, key, kid) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid }).sign(key);
  const { RS256 } = keys;
  const { kid } = RS256.jwk;
  const confused = `${part({ alg: 'HS256', kid })}.${part(claims)}`;
  const secret = RS256.publicKey.export({ type: 'spki', format: 'pem' });
  return {
    RS256: await granted('urn:api:RS256'),
    ES256: await granted('urn:api:ES256'),
    EdDSA: await granted('urn:api:EdDSA'),
    opaque: await granted(),
    audience: await granted('urn:other:RS256'),
    expired: await made({ ...claims, exp: now - 61 }, RS256.privateKey, kid),
    unsigned: `${part({ alg: 'none', kid })}.${part(claims)}.`,
    confused: `${confused}.${createHmac('sha256', secret).update(confused).digest('base64url')}`,
    foreign: await made(claims, KINDS.RS256().privateKey, kid),
    unknown: await made(claims, KINDS.RS256().privateKey, 'made-up'),
  };
}
