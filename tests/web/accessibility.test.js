// Whether everybody can use it: axe has nothing serious to say, and a keyboard is enough.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { settingsFor } from './provider.js';
import { BOUNDED, place, siteForThisFile } from './site.js';

// Nobody goes to the provider here; it is on the page.
const site = siteForThisFile(settingsFor({ issuer: 'http://localhost:1' }));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function findings(page) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  assert.ok(passes.length > 5, 'it looked');
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
}

// Something of everything, for the views to show.
async function furnish(t) {
  const channel = await site.channel(t, 'furniture');
  await channel.assertQueue('chairs');
  await channel.bindQueue('chairs', 'amq.topic', 'wood.#');
  await channel.consume('chairs', () => {}, { consumerTag: 'sitter' });
  channel.publish('amq.topic', 'wood.oak', Buffer.from('x'));
  await site.api('PUT', 'policies/%2F/strong', { pattern: '^c', definition: { 'max-length': 9 }, 'apply-to': 'queues' });
  await site.api('PUT', 'vhost-limits/%2F/max-queues', { value: 1000 });
  const [{ name: connection }] = await site.api('GET', 'connections?columns=name');
  return [
    ['overview'], ['queues'], ['queues', '/', 'chairs'], ['exchanges'], ['exchanges', '/', 'amq.topic'], ['topology'],
    ['connections'], ['connections', connection], ['channels'], ['channels', `${connection} (1)`], ['users'], ['users', 'guest'], ['vhosts'],
    ['policies'], ['limits'], ['definitions'], ['node'], ['log'],
  ];
}

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing serious in the ${colorScheme}`, BOUNDED, async (t) => {
    const views = await furnish(t);
    const page = await site.open(t, '', { colorScheme });
    for (const names of views) {
      await page.goto(`${site.url}/${place(...names)}`);
      await page.locator('main .card, main table, main .graph svg').first().waitFor();
      await page.locator('main details.card').evaluateAll((parts) => parts.forEach((part) => (part.open = true)));
      assert.deepEqual(await findings(page), [], names.join('/'));
    }
    await page.goto(`${site.url}/${place('queues')}`);
    await page.getByRole('button', { name: 'Add queue' }).click();
    await page.locator('dialog fieldset').getByRole('button', { name: 'Add' }).click();
    assert.deepEqual(await findings(page), [], 'a dialog');
  });
}

test('axe finds nothing serious in the login, nor on a phone', BOUNDED, async (t) => {
  const login = await site.open(t, '#/?login=denied', { user: null });
  await login.getByRole('button', { name: 'Log in with' }).waitFor();
  await login.getByText('The provider did not let you in.').waitFor();
  assert.deepEqual(await findings(login), []);
  const viewport = { width: 390, height: 844 };
  const phone = await site.open(t, '#/queues', { viewport });
  await phone.getByRole('button', { name: 'Menu' }).click();
  assert.deepEqual(await findings(phone), []);
  for (const view of ['overview', 'queues', 'topology', 'node', 'users', 'log']) {
    await phone.goto(`${site.url}/${place(view)}`);
    await phone.locator('main .card, main table, main .graph svg').first().waitFor();
    const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${view} is ${overflow} pixels too wide`);
  }
});

test('a keyboard is enough', BOUNDED, async (t) => {
  await site.api('PUT', 'queues/%2F/keys', {});
  const page = await site.open(t, '#/queues');
  const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.getAttribute('aria-label'));
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'Queues');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Add queue');
  await page.keyboard.press('Enter');
  await page.locator('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal(await focused(), 'Add queue', 'the focus is where it was');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.type), 'search');
});

test('light and dark can be chosen, and the choice is kept', BOUNDED, async (t) => {
  const page = await site.open(t, '', { colorScheme: 'light' });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByRole('button', { name: 'Switch between light and dark' }).click();
  const dark = await ground();
  assert.notEqual(light, dark);
  await page.reload();
  await page.waitForSelector('main h1');
  assert.equal(await ground(), dark);
});
