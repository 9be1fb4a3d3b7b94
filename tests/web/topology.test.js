// The overview, exchanges, connections and channels, and the node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, eventually, figure, place, siteForThisFile, unfold } from './site.js';

const site = siteForThisFile();

// A connection that publishes and consumes until the test ends.
async function load(t, queue) {
  const channel = await site.channel(t, `load of ${queue}`);
  await channel.assertQueue(queue);
  await channel.consume(queue, (message) => channel.ack(message));
  site.feed(channel, () => channel.sendToQueue(queue, Buffer.from('x')));
}

test('the overview shows what happens', BOUNDED, async (t) => {
  await load(t, 'overview.load');
  const page = await site.open(t);
  for (const id of ['publish', 'deliver', 'connections', 'memory', 'queues']) {
    await eventually(`${id} has a figure`, async () => /[1-9]/.test(await figure(page, id).innerText()));
  }
  assert.equal(await page.locator('.chart canvas').count(), 4);
  await page.getByRole('button', { name: '1 min' }).click();
  const published = page.locator('.chart').first().locator('.legend li').first();
  await eventually('the chart has it', async () => /[1-9]/.test(await published.innerText()));
  await page.getByText(site.broker.addresses.amqp).waitFor();
});

// How far things moved while other things were shown in a view twice, once it was there.
async function moved(page) {
  const main = page.locator('main');
  const changed = async () => {
    const before = await main.innerText();
    await eventually('it shows something else', async () => (await main.innerText()) !== before);
  };
  await changed();
  await page.evaluate(() => {
    window.shifts = [];
    window.observer = new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(({ value }) => value)));
    window.observer.observe({ type: 'layout-shift' });
  });
  for (let refresh = 0; refresh < 2; refresh += 1) await changed();
  const shifts = await page.evaluate(() => [...window.shifts, ...window.observer.takeRecords().map(({ value }) => value)]);
  return shifts.reduce((all, value) => all + value, 0);
}

test('nothing jumps while it is shown anew', BOUNDED, async (t) => {
  await load(t, 'steady.load');
  const views = [['overview'], ['queues'], ['queues', '/', 'steady.load'], ['connections']];
  const look = async (names) => {
    const page = await site.open(t, place(...names));
    await page.locator('main tbody td, main .figure').first().waitFor();
    const sum = await moved(page);
    assert.ok(sum < 0.01, `${names} moved by ${sum}`);
  };
  await Promise.all(views.map(look));
});

test('an exchange is added, bound, published to and deleted', BOUNDED, async (t) => {
  await site.api('PUT', 'queues/%2F/target', { durable: true });
  const page = await site.open(t, '#/exchanges');
  await page.getByRole('button', { name: 'Add exchange' }).click();
  await page.getByLabel('Name', { exact: true }).fill('news');
  await page.locator('dialog').getByLabel('Type').selectOption('topic');
  await page.locator('dialog button[type=submit]').click();
  await page.getByRole('link', { name: 'news', exact: true }).click();
  await page.getByRole('heading', { name: 'news' }).waitFor();
  const binding = await unfold(page, 'Bind');
  await binding.getByLabel('Name').fill('target');
  await binding.getByLabel('Routing key').fill('de.*');
  await binding.getByRole('button', { name: 'Bind' }).click();
  await page.locator('main table').getByRole('link', { name: 'target' }).waitFor();
  const publishing = await unfold(page, 'Publish a message');
  await publishing.getByLabel('Routing key').fill('fr.paris');
  await publishing.getByRole('button', { name: 'Publish' }).click();
  await page.getByText('Published, but routed to no queue.').waitFor();
  await publishing.getByLabel('Routing key').fill('de.bonn');
  await publishing.getByRole('button', { name: 'Publish' }).click();
  await eventually('it is there', async () => (await site.api('GET', 'queues/%2F/target')).messages === 1);
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
  const left = await site.api('GET', 'exchanges/%2F?columns=name');
  assert.ok(!left.some(({ name }) => name === 'news'));
});

test('a connection and its channel are looked at, and it is closed', BOUNDED, async (t) => {
  await load(t, 'connections.load');
  const page = await site.open(t, '#/connections');
  const row = page.locator('main tbody tr').filter({ hasText: 'load of connections.load' });
  await row.getByRole('link').click();
  await page.getByText('Name of its own').waitFor();
  const name = await page.locator('h1').innerText();
  await eventually('bytes come', async () => /[1-9]/.test(await figure(page, 'from').innerText()));
  await page.getByRole('link', { name: `${name} (1)` }).click();
  await page.getByRole('heading', { name: `${name} (1)` }).waitFor();
  await page.getByRole('link', { name: 'connections.load' }).waitFor();
  await eventually('it publishes', async () => /[1-9]/.test(await figure(page, 'publish').innerText()));
  await page.getByRole('link', { name, exact: true }).click();
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByLabel('Reason').fill('maintenance');
  await page.locator('dialog').getByRole('button', { name: 'Close' }).click();
  await page.getByRole('heading', { name: 'Connections' }).waitFor();
  await row.waitFor({ state: 'detached' });
});

test('channels are listed', BOUNDED, async (t) => {
  await load(t, 'channels.load');
  const page = await site.open(t, '#/channels');
  await page.getByLabel('Search channels').fill('127.0.0.1');
  await page.getByRole('link', { name: /-> .* \(1\)/ }).first().waitFor();
});

test('the node tells of its storage', BOUNDED, async (t) => {
  const page = await site.open(t, place('node'));
  await eventually('it is up', async () => /\d/.test(await figure(page, 'uptime').innerText()));
  await page.getByText('Groups written').waitFor();
  await page.getByText('well', { exact: true }).waitFor();
  assert.equal(await page.locator('.chart').count(), 4);
});
