// Whether everybody can use it: axe has nothing serious to say, and a keyboard is enough.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { settingsFor } from './provider.js';
import { BOUNDED, eventually, place, siteForThisFile } from './site.js';

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
  const menu = phone.getByRole('button', { name: 'Menu' });
  const views = phone.getByRole('navigation', { name: 'Views' });
  await menu.click();
  assert.deepEqual(await findings(phone), []);
  await phone.keyboard.press('Escape');
  await views.waitFor({ state: 'hidden' });
  assert.equal(await phone.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Menu');
  await menu.click();
  await views.getByRole('link', { name: 'Queues' }).click();
  await views.waitFor({ state: 'hidden' });
});

test('everything is within the width of a phone', BOUNDED, async (t) => {
  const views = await furnish(t);
  const long = 'a.queue.with.a.name.that.somebody.gave.in.an.enterprise.application.node.17';
  await site.api('PUT', `queues/%2F/${long}`, {});
  await site.api('POST', `bindings/%2F/e/amq.topic/q/${long}`, { routing_key: long });
  const phone = await site.open(t, '', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  for (const names of [...views, ['queues', '/', long]]) {
    await phone.goto(`${site.url}/${place(...names)}`);
    await phone.locator('main .card, main table, main .graph svg').first().waitFor();
    await phone.locator('main details.card').evaluateAll((parts) => parts.forEach((part) => (part.open = true)));
    // Of what is not told of yet there are no rows.
    await eventually('all tables have rows', () => phone.locator('main tbody:empty').count().then((empty) => empty === 0));
    const wide = await phone.evaluate(() => {
      const right = (node) => node.getBoundingClientRect().right;
      const cut = [...document.querySelectorAll('main table')].filter((table) => right(table) > right(table.parentElement) + 1);
      return { page: document.documentElement.scrollWidth - innerWidth, tables: cut.map((table) => table.getAttribute('aria-label')) };
    });
    assert.deepEqual(wide, { page: 0, tables: [] }, names.join('/'));
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
