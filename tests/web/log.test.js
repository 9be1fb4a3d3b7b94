// The log.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, eventually, siteForThisFile } from './site.js';

const site = siteForThisFile();

// Logs a line that has a name in it.
const say = (name) => site.api('PUT', `queues/%2F/${encodeURIComponent(name)}`, {});

const line = (page, text) => page.locator('.lines li').filter({ hasText: text });

test('lines come, are searched, and held back by a pause', BOUNDED, async (t) => {
  await say('early bird');
  const page = await site.open(t, '#/log');
  await line(page, 'early bird').waitFor();
  await say('late bird');
  await line(page, 'late bird').waitFor();
  assert.equal(await line(page, 'early bird').count(), 1, 'none comes twice');
  await page.keyboard.press('/');
  await page.keyboard.type('LATE');
  await line(page, 'early bird').waitFor({ state: 'hidden' });
  assert.ok(await line(page, 'late bird').isVisible());
  assert.match(page.url(), /q=LATE/);
  await page.getByLabel('Search lines').fill('');
  await page.getByRole('button', { name: 'Pause' }).click();
  await say('patient bird');
  await page.getByText('1 more wait').waitFor();
  assert.equal(await line(page, 'patient bird').count(), 0);
  await page.getByRole('button', { name: 'Go on' }).click();
  await line(page, 'patient bird').waitFor();
});

test('those of a level are shown', BOUNDED, async (t) => {
  await say('harmless');
  await fetch(`${site.url}/api/whoami`, { headers: { Authorization: `Basic ${Buffer.from('mallory:x').toString('base64')}` } });
  const page = await site.open(t, '#/log');
  await line(page, 'harmless').waitFor();
  await page.getByLabel('Least severe level').selectOption('warn');
  await line(page, 'harmless').waitFor({ state: 'hidden' });
  await line(page, 'mallory').waitFor();
  await page.reload();
  await line(page, 'mallory').waitFor();
  assert.ok(await line(page, 'harmless').isHidden(), 'the address has the level');
});

test('the end is followed unless somebody scrolls back', BOUNDED, async (t) => {
  for (let number = 0; number < 120; number += 1) await say(`tail ${number % 5}`);
  const page = await site.open(t, '#/log');
  const list = page.locator('.lines');
  await line(page, 'tail 4').last().waitFor();
  const toEnd = () => list.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
  await eventually('it is at the end', async () => (await toEnd()) < 8);
  await list.evaluate((node) => node.scrollTo(0, 0));
  await eventually('nothing is followed', async () => !(await page.getByLabel('Follow').isChecked()));
  await say('unseen end');
  await line(page, 'unseen end').waitFor();
  assert.equal(await list.evaluate((node) => node.scrollTop), 0);
  await page.getByLabel('Follow').check();
  await eventually('it is at the end again', async () => (await toEnd()) < 8);
});

test('hostile names are text, and turn nothing around', BOUNDED, async (t) => {
  await say('<img src=x onerror="window.owned = 1"> \u202Eesrever\u2066');
  const page = await site.open(t, '#/log');
  const text = await line(page, 'esrever').locator('.text').textContent();
  assert.ok(text.includes('onerror=') && !/[\u202E\u2066]/.test(text), text);
  assert.match(text, /202e.*esrever/i);
  assert.equal(await page.evaluate(() => window.owned), undefined);
  assert.equal(await page.locator('main img').count(), 0);
});

test('it is for administrators', BOUNDED, async (t) => {
  await site.api('PUT', 'users/watcher', { password: 'x', tags: 'monitoring' });
  const page = await site.open(t, '#/log', { user: 'watcher:x' });
  await page.getByRole('heading', { name: 'Nothing is here' }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'Log', exact: true }).count(), 0);
});
