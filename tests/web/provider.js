// A provider at which people log in, with a form of its own: it gives codes to browsers, and tokens for codes.

import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

const CLIENT = 'page';
const SECRET = 'hush & more';

const KEYS = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(claims) {
  const text = `${encoded({ alg: 'ES256', kid: 'one' })}.${encoded(claims)}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key: KEYS.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

// The settings of a broker that has people log in there.
export function settingsFor(provider) {
  return {
    'auth.backends': 'internal,oauth2',
    'auth.oauth2.resource_server_id': 'mq',
    'auth.oauth2.issuer': provider.issuer,
    'http.oauth.enabled': 'true',
    'http.oauth.client_id': CLIENT,
    'http.oauth.client_secret': SECRET,
    'http.oauth.label': '<i>Our</i> people',
  };
}

// Starts one. `provider.lives` is how many seconds tokens do, `provider.scope` what they allow.
export async function startProvider() {
  const provider = { lives: 60, scope: 'mq.tag:administrator mq.configure:*/* mq.read:*/* mq.write:*/*' };
  const codes = new Map();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, provider.issuer);
    const chunks = await request.toArray();
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    const answer = (kind, text, status = 200) => response.writeHead(status, { 'Content-Type': kind }).end(text);
    const json = (value, status) => answer('application/json', JSON.stringify(value), status);
    const back = (asked, told) => {
      const to = `${asked.redirect_uri}?${new URLSearchParams({ ...told, state: asked.state })}`;
      response.writeHead(302, { Location: to }).end();
    };
    if (url.pathname === '/.well-known/openid-configuration') {
      const { issuer } = provider;
      json({ issuer, jwks_uri: `${issuer}/keys`, authorization_endpoint: `${issuer}/login`, token_endpoint: `${issuer}/token` });
    } else if (url.pathname === '/keys') {
      json({ keys: [{ ...KEYS.publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'ES256' }] });
    } else if (url.pathname === '/login' && request.method === 'GET') {
      answer('text/html', '<h1>Who is it?</h1><form method="post"><input name="name"><button name="how" value="in">Let me in</button><button name="how" value="no">No</button></form>');
    } else if (url.pathname === '/login') {
      const asked = Object.fromEntries(url.searchParams);
      if (form.get('how') === 'no') return back(asked, { error: 'access_denied' });
      const code = randomBytes(8).toString('hex');
      codes.set(code, { asked, name: form.get('name') });
      back(asked, { code });
    } else if (url.pathname === '/token') {
      const { asked, name } = codes.get(form.get('code'));
      codes.delete(form.get('code'));
      const challenge = createHash('sha256').update(form.get('code_verifier')).digest('base64url');
      assert.equal(challenge, asked.code_challenge);
      const client = [CLIENT, SECRET].map((text) => new URLSearchParams({ text }).toString().slice(5)).join(':');
      assert.equal(request.headers.authorization, `Basic ${Buffer.from(client).toString('base64')}`);
      const exp = Math.floor(Date.now() / 1000) + provider.lives;
      const claims = { iss: provider.issuer, aud: 'mq', sub: name, exp, scope: provider.scope };
      json({ access_token: token(claims), token_type: 'Bearer' });
    } else {
      json({}, 404);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // To a browser this is another site than 127.0.0.1.
  provider.issuer = `http://localhost:${server.address().port}`;
  provider.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return provider;
}
