// Users, vhosts, policies, limits, definitions.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { BOUNDED, eventually, siteForThisFile } from './site.js';

const site = siteForThisFile();

const send = (page) => page.locator('dialog button[type=submit]').click();

test('a user is added, permitted, changed and deleted', BOUNDED, async (t) => {
  const page = await site.open(t, '#/users');
  await page.getByRole('button', { name: 'Add user' }).click();
  await page.getByLabel('Name', { exact: true }).fill('guest');
  await page.getByLabel('Password').fill('secret');
  await send(page);
  // Who is there already is not changed by adding.
  await page.locator('dialog .trouble').waitFor();
  await site.api('GET', 'whoami');
  await page.getByLabel('Name', { exact: true }).fill('carol');
  await page.getByLabel('monitoring').check();
  await send(page);
  await page.getByRole('heading', { name: 'carol' }).waitFor();
  assert.deepEqual((await site.api('GET', 'whoami', null, 'carol:secret')).tags, ['monitoring']);
  await page.getByRole('button', { name: 'Set permission' }).click();
  await page.getByLabel('Configure').fill('^carol\\.');
  await send(page);
  await page.getByRole('cell', { name: '^carol\\.' }).waitFor();
  const [permission] = await site.api('GET', 'users/carol/permissions');
  assert.deepEqual([permission.configure, permission.write], ['^carol\\.', '.*']);
  await page.getByRole('button', { name: 'Edit' }).first().click();
  await page.getByLabel('policymaker').check();
  await send(page);
  await page.locator('dialog').waitFor({ state: 'detached' });
  const { tags } = await site.api('GET', 'whoami', null, 'carol:secret');
  assert.deepEqual([...tags].sort(), ['monitoring', 'policymaker'], 'and the password stays');
  await page.getByRole('button', { name: 'Clear' }).click();
  await send(page);
  await page.getByText('The user may enter no vhost.').waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await send(page);
  await page.getByRole('heading', { name: 'Users' }).waitFor();
  assert.ok(!(await site.api('GET', 'users')).some(({ name }) => name === 'carol'));
});

test('a vhost is added, chosen and deleted', BOUNDED, async (t) => {
  const page = await site.open(t, '#/vhosts');
  await page.getByRole('button', { name: 'Add vhost' }).click();
  await page.getByLabel('Name', { exact: true }).fill('a/b');
  await page.getByLabel('Description').fill('for a test');
  await send(page);
  const row = page.locator('main tbody tr').filter({ hasText: 'for a test' });
  await row.waitFor();
  await page.getByRole('combobox', { name: 'Virtual host' }).selectOption('a/b');
  await page.getByRole('link', { name: 'Exchanges' }).click();
  await page.getByRole('link', { name: 'amq.topic' }).waitFor();
  assert.equal(await page.getByRole('columnheader', { name: 'Vhost' }).count(), 0);
  await page.getByRole('link', { name: 'Virtual hosts' }).click();
  await row.getByRole('button', { name: 'Delete' }).click();
  await send(page);
  await row.waitFor({ state: 'detached' });
  await eventually('it is not to be chosen', async () => !(await page.getByRole('combobox', { name: 'Virtual host' }).innerText()).includes('a/b'));
});

test('a policy is added, changed and deleted', BOUNDED, async (t) => {
  const page = await site.open(t, '#/policies');
  const own = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Policies', exact: true }) });
  await own.getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Name', { exact: true }).fill('short');
  await page.getByLabel('Pattern').fill('^s');
  await page.locator('dialog fieldset').getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Sets: key').fill('max-length');
  await page.getByLabel('Sets: value').fill('5');
  await send(page);
  await page.locator('dialog .trouble').getByText('is not a valid maximum length').waitFor();
  await page.getByLabel('Sets: type of the value').selectOption('number');
  await send(page);
  await own.getByText('max-length: 5').filter({ visible: true }).waitFor();
  await own.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Sets: value').fill('6');
  await send(page);
  await own.getByText('max-length: 6').filter({ visible: true }).waitFor();
  assert.deepEqual((await site.api('GET', 'policies/%2F/short')).definition, { 'max-length': 6 });
  await own.getByRole('button', { name: 'Delete' }).click();
  await send(page);
  await own.getByText('There are none.').waitFor();
});

test('a limit is set and cleared', BOUNDED, async (t) => {
  const page = await site.open(t, '#/limits');
  const own = page.locator('section').filter({ hasText: 'Limits of vhosts' });
  await own.getByRole('button', { name: 'Set limit' }).click();
  await page.getByLabel('At most so many').selectOption('max-queues');
  await page.getByLabel('Number').fill('77');
  await send(page);
  await own.getByRole('cell', { name: '77' }).waitFor();
  assert.deepEqual(await site.api('GET', 'vhost-limits'), [{ vhost: '/', value: { 'max-queues': 77 } }]);
  await own.getByRole('button', { name: 'Clear' }).click();
  await send(page);
  await own.getByText('There are none.').waitFor();
});

test('definitions go down and up', BOUNDED, async (t) => {
  await site.api('PUT', 'queues/%2F/kept', { durable: true });
  const page = await site.open(t, '#/definitions');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
  assert.match(download.suggestedFilename(), /^leveret-.*\.json$/);
  const text = await readFile(await download.path(), 'utf8');
  assert.ok(JSON.parse(text).queues.some(({ name }) => name === 'kept'));
  await site.api('DELETE', 'queues/%2F/kept');
  await page.getByLabel('File').setInputFiles({ name: 'd.json', mimeType: 'application/json', buffer: Buffer.from(text) });
  await page.getByRole('button', { name: 'Import' }).click();
  await page.getByText('queues: 1 new').waitFor();
  assert.deepEqual(await site.api('GET', 'queues/%2F?columns=name'), [], 'it was only told');
  await page.getByLabel('Only tell what would change').uncheck();
  await page.getByRole('button', { name: 'Import' }).click();
  await page.getByText('The definitions are imported.').waitFor();
  assert.deepEqual(await site.api('GET', 'queues/%2F?columns=name'), [{ name: 'kept' }]);
  await page.getByLabel('File').setInputFiles({ name: 'd.json', mimeType: 'application/json', buffer: Buffer.from('{"queues":[{}]}') });
  await page.getByRole('button', { name: 'Import' }).click();
  await page.locator('.trouble:visible').waitFor();
});
