// Logging in at a provider, which is another site.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { settingsFor, startProvider } from './provider.js';
import { BOUNDED, siteForThisFile } from './site.js';

const provider = await startProvider();
after(() => provider.stop());
const site = siteForThisFile({ ...settingsFor(provider), 'http.path_prefix': '/mq', 'auth.oauth2.leeway': '0' });

const offered = (page) => page.getByRole('button', { name: 'Log in with <i>Our</i> people' });

// From the login of the page to that of the provider.
async function goThere(page) {
  await offered(page).click();
  await page.getByRole('heading', { name: 'Who is it?' }).waitFor();
  assert.equal(new URL(page.url()).origin, provider.issuer);
}

async function logIn(page, name) {
  await goThere(page);
  await page.fill('input[name=name]', name);
  await page.getByRole('button', { name: 'Let me in' }).click();
}

test('who logs in at the provider is where they wanted to go, stays over a reload, and gets out', BOUNDED, async (t) => {
  const page = await site.open(t, '#/exchanges?sort=name', { user: null });
  // The password still does.
  await page.getByRole('button', { name: 'Log in', exact: true }).waitFor();
  const seen = [];
  page.on('request', (request) => seen.push(request.url()));
  await logIn(page, 'ada');
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
  assert.equal(new URL(page.url()).hash, '#/exchanges?sort=name');
  assert.equal(new URL(page.url()).search, '', 'no code stays in the address');
  assert.equal(await page.locator('.who').innerText(), 'ada\nadministrator');
  const cookies = await page.context().cookies();
  assert.deepEqual(cookies.map(({ name, path, httpOnly, sameSite }) => [name.replace(/\d+/, 'N'), path, httpOnly, sameSite]), [
    ['leveret_session_N', '/mq/', true, 'Strict'],
  ]);
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert.ok(!/lvrt|eyJ|exchanges/.test(kept), kept);
  assert.ok(!seen.some((url) => url.includes('eyJ')), 'no token goes through the browser');
  await page.reload();
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await offered(page).waitFor();
  await page.reload();
  await offered(page).waitFor();
});

test('who goes to the front of the page gets there', BOUNDED, async (t) => {
  const page = await site.open(t, '', { user: null });
  await logIn(page, 'ada');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
});

test('what goes wrong is told once, and the place is kept', BOUNDED, async (t) => {
  const page = await site.open(t, '#/queues', { user: null });
  await goThere(page);
  await page.getByRole('button', { name: 'No' }).click();
  await page.getByText('The provider did not let you in.').waitFor();
  assert.equal(new URL(page.url()).hash, '#/queues');
  await page.reload();
  await offered(page).waitFor();
  assert.equal(await page.getByRole('alert').filter({ hasText: 'provider' }).count(), 0);
  provider.scope = 'mq.read:*/*';
  t.after(() => (provider.scope = 'mq.tag:administrator'));
  await logIn(page, 'eve');
  await page.getByText('your access token has no tag').waitFor();
  await page.fill('input[name=username]', 'guest');
  await page.fill('input[name=password]', 'guest');
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await page.getByRole('heading', { name: 'Queues' }).waitFor();
});

test('what the address says is not shown', BOUNDED, async (t) => {
  for (const word of ['<img src=x onerror=alert(1)>', 'toString', '__proto__', '']) {
    const page = await site.open(t, `#/?login=${encodeURIComponent(word)}`, { user: null });
    await offered(page).waitFor();
    assert.equal(await page.locator('.login img').count(), 0);
    assert.equal(await page.locator('.login .trouble:visible').count(), 0);
  }
});

test('the page asks for a login when the token is over', BOUNDED, async (t) => {
  provider.lives = 3;
  t.after(() => (provider.lives = 60));
  const page = await site.open(t, '', { user: null });
  await logIn(page, 'ada');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await offered(page).waitFor();
});
