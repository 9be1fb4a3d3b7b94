// Bindings as a graph: on a view of its own, and on those of exchanges and queues.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, eventually, place, siteForThisFile } from './site.js';

const site = siteForThisFile();

const HOSTILE = '"><script>window.owned = 1</script>';

// A vhost of its own, and a channel there.
async function vhost(t, name) {
  await site.api('PUT', `vhosts/${encodeURIComponent(name)}`);
  await site.api('PUT', `permissions/${encodeURIComponent(name)}/guest`, { configure: '.*', write: '.*', read: '.*' });
  const channel = await site.channel(t, name, name);
  // After the connection.
  t.after(() => site.api('DELETE', `vhosts/${encodeURIComponent(name)}`));
  return channel;
}

// orders -> bills -> (dead letters) dead -> graveyard, orders -> (alternate, by a policy) lost, and a way back.
async function shop(t, name) {
  const channel = await vhost(t, name);
  for (const exchange of ['orders', 'regional', 'dead', 'lost']) await channel.assertExchange(exchange, 'topic');
  await channel.assertQueue('bills', { arguments: { 'x-dead-letter-exchange': 'dead', 'x-dead-letter-routing-key': 'bill' } });
  await channel.assertQueue('graveyard');
  await channel.assertQueue('alone');
  await channel.bindQueue('bills', 'orders', 'order.paid');
  await channel.bindQueue('bills', 'orders', 'order.refunded');
  await channel.bindExchange('regional', 'orders', 'eu.#');
  await channel.bindExchange('orders', 'regional', 'back');
  await channel.bindQueue('graveyard', 'dead', '#');
  await site.api('PUT', `policies/${name}/rescue`, { pattern: '^orders$', definition: { 'alternate-exchange': 'lost' }, 'apply-to': 'exchanges' });
  return channel;
}

const nodes = (page) => page.locator('.graph [data-node]').evaluateAll((found) => found.map((node) => node.dataset.node).sort());
const edges = (page, why) => page.locator(`.graph .edge.${why}`).count();
const words = (page) => page.locator('.graph .words title').evaluateAll((found) => found.map((title) => title.textContent).sort());
const focused = (page) => page.evaluate(() => document.activeElement.dataset?.node);
const left = (page, id) => page.locator(`.graph [data-node="${id}"] rect`).evaluate((box) => Number(box.getAttribute('x')));

test('a vhost is drawn from left to right, as messages go', BOUNDED, async (t) => {
  const channel = await shop(t, 'drawn');
  const page = await site.open(t, '#/topology?vhost=drawn');
  await page.locator('.graph svg').waitFor();
  assert.deepEqual(await nodes(page), ['exchange:dead', 'exchange:lost', 'exchange:orders', 'exchange:regional', 'queue:alone', 'queue:bills', 'queue:graveyard']);
  assert.deepEqual([await edges(page, 'bound'), await edges(page, 'alternate'), await edges(page, 'dead')], [4, 1, 1]);
  assert.deepEqual(await words(page), ['#', 'back', 'dead: bill', 'eu.#', 'order.paid', 'order.refunded', 'unroutable']);
  const ways = [['exchange:orders', 'queue:bills'], ['queue:bills', 'exchange:dead'], ['exchange:dead', 'queue:graveyard']];
  for (const [from, to] of ways) assert.ok((await left(page, from)) < (await left(page, to)), `${from} is before ${to}`);
  const dashes = (why) => page.locator(`.graph .edge.${why} path`).first().evaluate((line) => getComputedStyle(line).strokeDasharray);
  assert.equal(await dashes('bound'), 'none');
  for (const why of ['alternate', 'dead']) assert.match(await dashes(why), /\d/);
  // It stays true.
  await channel.bindQueue('alone', 'regional', 'fresh');
  await eventually('the new binding is drawn', async () => (await words(page)).includes('fresh'));
});

test('a click walks to what is clicked, and from there on', BOUNDED, async (t) => {
  await shop(t, 'walked');
  const page = await site.open(t, '#/topology?vhost=walked');
  await page.locator('.graph').getByRole('link', { name: 'Exchange orders, topic' }).click();
  await page.getByRole('heading', { level: 1, name: 'orders' }).waitFor();
  await page.locator('.graph svg').waitFor();
  assert.deepEqual(await nodes(page), ['exchange:lost', 'exchange:orders', 'exchange:regional', 'queue:bills']);
  assert.equal(await edges(page, 'alternate'), 1, 'a policy sets it');
  await page.locator('.graph').getByRole('link', { name: 'Queue bills' }).click();
  await page.getByRole('heading', { level: 1, name: 'bills' }).waitFor();
  await eventually('it is that of the queue', async () => (await nodes(page)).join() === 'exchange:dead,exchange:orders,queue:bills');
  assert.deepEqual(await words(page), ['dead: bill', 'order.paid', 'order.refunded']);
  await page.getByRole('link', { name: 'The whole topology' }).click();
  await page.getByRole('heading', { level: 1, name: 'Topology' }).waitFor();
  await page.locator('.graph .marked[data-node="queue:bills"]').waitFor();
  await page.goto(`${site.url}/${place('queues', 'walked', 'alone')}`);
  await page.getByText('Nothing leads to it or from it').waitFor();
});

test('a keyboard walks along it', BOUNDED, async (t) => {
  await shop(t, 'typed');
  const page = await site.open(t, '#/topology?vhost=typed');
  await page.locator('.graph svg').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('BILL');
  await page.locator('.offers').getByRole('button', { name: 'queue bills' }).press('Enter');
  await page.locator('.graph .marked[data-node="queue:bills"]').waitFor();
  assert.match(page.url(), /around=queue%3Abills/);
  await page.locator('.graph [data-node="queue:bills"]').focus();
  await page.keyboard.press('ArrowLeft');
  assert.equal(await focused(page), 'exchange:orders');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(page), 'exchange:dead');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(page), 'queue:graveyard');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'graveyard' }).waitFor();
});

test('of many the nearest are drawn, and how many are not is told', BOUNDED, async (t) => {
  const channel = await vhost(t, 'many');
  for (let number = 0; number < 3; number += 1) await channel.assertExchange(`e${number}`, 'fanout');
  const queues = Array.from({ length: 240 }, (_, number) => number);
  await Promise.all(queues.map((number) => channel.assertQueue(`q${number}`)));
  await Promise.all(queues.map((number) => channel.bindQueue(`q${number}`, number < 230 ? 'e0' : 'e1', '')));
  const page = await site.open(t, '#/topology?vhost=many');
  await page.getByText('200 of 243 exchanges and queues, those around e0; 43 are left out').waitFor();
  assert.equal(await page.locator('.graph [data-node]').count(), 200);
  await page.getByLabel('Look around an exchange or queue').fill('q235');
  await page.locator('.offers').getByRole('button').click();
  await page.getByText('11 of 243 exchanges and queues, those around q235; 232 are left out').waitFor();
  assert.equal(await page.locator('.graph [data-node]').count(), 11);
  await page.goto(`${site.url}/${place('exchanges', 'many', 'e0')}`);
  await page.getByText('191 more are left out.').waitFor();
  assert.equal(await page.locator('.graph [data-node]').count(), 40);
});

test('circles and long ways back are drawn too', BOUNDED, async (t) => {
  const channel = await vhost(t, 'circles');
  const count = 30;
  for (let number = 0; number < count; number += 1) await channel.assertExchange(`e${number}`, 'fanout');
  for (let number = 0; number < count; number += 1) await channel.bindExchange(`e${(number + 1) % count}`, `e${number}`, '');
  await channel.bindExchange('e0', 'e0', 'itself');
  const page = await site.open(t, '#/topology?vhost=circles');
  await page.locator('.graph svg').waitFor();
  assert.equal(await page.locator('.graph [data-node]').count(), count);
  assert.equal(await edges(page, 'bound'), count + 1);
  const broken = await page.locator('.graph path').evaluateAll((lines) => lines.filter((line) => /NaN|undefined|Infinity/.test(line.getAttribute('d'))).length);
  assert.equal(broken, 0);
});

test('names are text there too', BOUNDED, async (t) => {
  const channel = await vhost(t, HOSTILE);
  await channel.assertExchange(HOSTILE, 'headers');
  await channel.assertQueue(HOSTILE, { arguments: { 'x-dead-letter-exchange': HOSTILE, 'x-dead-letter-routing-key': HOSTILE } });
  await channel.bindQueue(HOSTILE, HOSTILE, HOSTILE, { [HOSTILE]: HOSTILE });
  const page = await site.open(t, `#/topology?${new URLSearchParams({ vhost: HOSTILE, around: `queue:${HOSTILE}` })}`);
  await page.locator('.graph .marked').waitFor();
  assert.deepEqual(await nodes(page), [`exchange:${HOSTILE}`, `queue:${HOSTILE}`]);
  assert.deepEqual(await words(page), [`${HOSTILE} ${HOSTILE}=${HOSTILE}`, `dead: ${HOSTILE}`].sort());
  await page.getByLabel('Look around an exchange or queue').fill('<SCRIPT>');
  assert.equal(await page.locator('.offers button').count(), 2);
  await page.locator('.graph').getByRole('link', { name: `Queue ${HOSTILE}` }).click();
  await page.waitForFunction((wanted) => document.querySelector('main h1')?.textContent === wanted, HOSTILE);
  await page.locator('.graph svg').waitFor();
  assert.equal(await page.locator('main script').count(), 0);
  assert.equal(await page.evaluate(() => window.owned), undefined);
});

test('who sees one vhost only sees its graph', BOUNDED, async (t) => {
  await shop(t, 'seen');
  await site.api('PUT', 'users/onlooker', { password: 'x', tags: 'management' });
  await site.api('PUT', 'permissions/seen/onlooker', { configure: '', write: '', read: '' });
  const page = await site.open(t, '#/topology?vhost=%2F', { user: 'onlooker:x' });
  await page.locator('.graph [data-node="exchange:orders"]').waitFor();
  assert.equal(await page.getByLabel('Virtual host of the graph').inputValue(), 'seen');
  await page.locator('.top select').selectOption('seen');
  await page.locator('.graph [data-node="exchange:orders"]').waitFor();
  assert.equal(await page.getByLabel('Virtual host of the graph').count(), 0);
});

test('ten thousand queues are drawn soon, and not anew while nothing changes', BOUNDED, async (t) => {
  await vhost(t, 'crowd');
  const all = Array.from({ length: 10_000 }, (_, number) => number);
  const own = { durable: true, auto_delete: false, arguments: {} };
  await site.api('POST', 'definitions/crowd', {
    exchanges: all.slice(0, 100).map((number) => ({ name: `x${number}`, type: 'topic', internal: false, ...own })),
    queues: all.map((number) => ({ name: `q${number}`, ...own, arguments: { 'x-dead-letter-exchange': 'x0' } })),
    bindings: all.map((number) => ({ source: `x${number % 100}`, destination: `q${number}`, destination_type: 'queue', routing_key: `key.${number}`, arguments: {} })),
  });
  const page = await site.open(t, '#/overview');
  // Tasks that let nothing else happen for as long, in milliseconds.
  await page.evaluate(() => {
    window.tasks = [];
    new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
    window.drawn = 0;
    new MutationObserver((changes) => (window.drawn += changes.filter(({ target }) => target.matches?.('.graph')).length)).observe(document, { childList: true, subtree: true });
  });
  await page.goto(`${site.url}/#/topology?vhost=crowd`);
  await page.getByText('200 of 10,100 exchanges and queues, those around x0; 9,900 are left out').waitFor();
  const drawn = await page.evaluate(() => window.drawn);
  const asked = page.waitForResponse((response) => /bindings/.test(response.url()));
  await (await asked).finished();
  await page.getByLabel('Look around').fill('q77');
  await page.getByRole('button', { name: 'queue q77', exact: true }).click();
  await page.locator('.graph [aria-current]').filter({ hasText: 'q77' }).waitFor();
  const after = await page.evaluate(() => ({ drawn: window.drawn, longest: Math.max(0, ...window.tasks) }));
  assert.equal(after.drawn, drawn + 1, 'it was drawn again for the search alone');
  assert.ok(after.longest < 1000, `the page stood still for ${after.longest} ms`);
});
