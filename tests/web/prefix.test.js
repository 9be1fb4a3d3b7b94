// The page behind a prefix, as a proxy may have it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, eventually, figure, siteForThisFile } from './site.js';

const site = siteForThisFile({ 'http.path_prefix': '/mq/one' });

test('all of it stays behind the prefix', BOUNDED, async (t) => {
  const page = await site.open(t, '', { user: null });
  const paths = [];
  page.on('request', (request) => paths.push(new URL(request.url()).pathname));
  await page.fill('input[name=username]', 'guest');
  await page.fill('input[name=password]', 'guest');
  await page.click('button[type=submit]');
  await eventually('it has figures', async () => /[1-9]/.test(await figure(page, 'memory').innerText().catch(() => '')));
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.path, '/mq/one/');
  // Without the slash at the end too.
  await page.goto(`${site.url}#/node`);
  await page.getByText('Groups written').waitFor();
  assert.deepEqual(paths.filter((path) => !path.startsWith('/mq/one')), []);
});
