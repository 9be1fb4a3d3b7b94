// The list of queues, and one of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, eventually, figure, place, siteForThisFile, unfold } from './site.js';

const site = siteForThisFile();

const rows = (page) => page.locator('main tbody tr:not(.none)');
const said = (page) => page.locator('main .said').first();

async function declare(name, body = { durable: true }) {
  await site.api('PUT', `queues/%2F/${encodeURIComponent(name)}`, body);
}

async function publish(queue, payload, properties = {}, encoding = 'string') {
  const body = { routing_key: queue, payload, payload_encoding: encoding, properties };
  const { routed } = await site.api('POST', 'exchanges/%2F/amq.default/publish', body);
  assert.ok(routed);
}

const messages = async (queue) => (await site.api('GET', `queues/%2F/${queue}?disable_stats=true&enable_queue_totals=true`)).messages;

test('ten thousand queues are searched, sorted and turned over', BOUNDED, async (t) => {
  await site.api('PUT', 'vhosts/many', {});
  await site.api('PUT', 'permissions/many/guest', { configure: '.*', write: '.*', read: '.*' });
  const queues = Array.from({ length: 10_000 }, (_, index) => ({ name: `q.${String(index).padStart(5, '0')}`, durable: false, auto_delete: false, arguments: {} }));
  await site.api('POST', 'definitions/many', { queues, exchanges: [], bindings: [], policies: [] });
  const page = await site.open(t, '#/queues');
  await page.getByRole('combobox', { name: 'Virtual host' }).selectOption('many');
  await eventually('all are counted', async () => (await said(page).innerText()) === '10,000');
  assert.equal(await rows(page).count(), 50);
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByRole('link', { name: 'q.00050' }).waitFor();
  assert.equal(await page.locator('.pager .page').innerText(), '51–100 of 10,000');
  await page.getByRole('button', { name: 'Name' }).click();
  await page.getByRole('link', { name: 'q.09999' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('Q.0004');
  await eventually('some are found', async () => (await said(page).innerText()) === '10 of 10,000');
  await page.getByLabel('Regex').check();
  await page.getByLabel('Search queues').fill('^q\\.[0-9]{3}77$');
  await eventually('others are found', async () => (await said(page).innerText()) === '100 of 10,000');
  // The way it is looked at is in the address.
  await page.reload();
  await eventually('they are found again', async () => (await said(page).innerText()) === '100 of 10,000');
  await page.getByLabel('Search queues').fill('(');
  await page.getByText('Pagination parameters are invalid').waitFor();
});

test('rows keep their places while numbers change, and the columns that were chosen', BOUNDED, async (t) => {
  await declare('steady');
  const page = await site.open(t, '#/queues?q=steady');
  await rows(page).waitFor();
  const row = await rows(page).elementHandle();
  await publish('steady', 'x');
  const ready = page.locator('main tbody td.number').first();
  await eventually('the number is there', async () => (await ready.innerText()) === '1');
  assert.ok(await row.evaluate((kept) => kept.isConnected), 'the same row');
  await page.getByText('Columns').click();
  await page.getByLabel('Memory').check();
  await page.getByRole('columnheader', { name: 'Memory' }).waitFor();
  await page.reload();
  await page.getByRole('columnheader', { name: 'Memory' }).waitFor();
});

test('a queue is added', BOUNDED, async (t) => {
  const page = await site.open(t, '#/queues');
  await page.getByRole('button', { name: 'Add queue' }).click();
  await page.getByLabel('Name', { exact: true }).fill('added');
  await page.locator('dialog').getByLabel('Type', { exact: true }).selectOption('quorum');
  await page.locator('dialog fieldset').getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Arguments: key').fill('x-max-length');
  await page.getByLabel('Arguments: type of the value').selectOption('number');
  await page.getByLabel('Arguments: value').fill('many');
  const send = page.locator('dialog button[type=submit]');
  await send.click();
  await page.getByText('The value of x-max-length is not of its type').waitFor();
  await page.getByLabel('Arguments: value').fill('7');
  await send.click();
  await page.locator('dialog').waitFor({ state: 'detached' });
  const { type, arguments: given } = await site.api('GET', 'queues/%2F/added');
  assert.deepEqual([type, given['x-max-length']], ['quorum', 7]);
});

test('a message is published and looked at', BOUNDED, async (t) => {
  await declare('talk');
  const page = await site.open(t, place('queues', '/', 'talk'));
  const publishing = await unfold(page, 'Publish a message');
  await publishing.getByLabel('Payload', { exact: true }).fill('{"id":9007199254740993,"note":"<b>hi</b>","none":[]}');
  await publishing.getByLabel('Content type').fill('application/json');
  await publishing.getByRole('group', { name: 'Headers' }).getByRole('button', { name: 'Add' }).click();
  await publishing.getByLabel('Headers: key').fill('tenant');
  await publishing.getByLabel('Headers: value').fill('<i>7</i>');
  await publishing.getByRole('button', { name: 'Publish' }).click();
  await page.getByText('Published.').waitFor();
  await eventually('it is counted', async () => (await figure(page, 'ready').innerText()) === '1');
  const getting = await unfold(page, 'Get messages');
  await getting.getByRole('button', { name: 'Get' }).click();
  const shown = getting.locator('.message');
  await shown.waitFor();
  const text = await shown.innerText();
  assert.match(text, /tenant: <i>7<\/i>/);
  assert.match(text, /content_type: application\/json/);
  // A number that JavaScript cannot hold stays what it is.
  const pretty = '{\n  "id": 9007199254740993,\n  "note": "<b>hi</b>",\n  "none": []\n}';
  assert.equal(await shown.locator('pre').textContent(), pretty);
  await shown.getByRole('button', { name: 'Base64' }).click();
  assert.match(Buffer.from(await shown.locator('pre').textContent(), 'base64').toString(), /^\{"id":9007199254740993/);
  assert.equal(await messages('talk'), 1, 'it was put back');
  await getting.getByLabel('Afterwards').selectOption('ack_requeue_false');
  await getting.getByRole('button', { name: 'Get' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Remove' }).click();
  await eventually('it is gone', async () => (await messages('talk')) === 0);
  await publish('talk', Buffer.from([0, 255, 16]).toString('base64'), {}, 'base64');
  await getting.getByLabel('Afterwards').selectOption('ack_requeue_true');
  await getting.getByRole('button', { name: 'Get' }).click();
  await shown.getByRole('button', { name: 'Hex' }).click();
  assert.equal(await shown.locator('pre').textContent(), '00 ff 10');
});

test('messages are moved and purged, and the queue deleted, each after a question', BOUNDED, async (t) => {
  for (const queue of ['from', 'to']) await declare(queue);
  for (const payload of ['a', 'b', 'c']) await publish('from', payload);
  const page = await site.open(t, place('queues', '/', 'from'));
  await page.getByRole('button', { name: 'Move' }).click();
  await page.getByLabel('To queue').fill('nowhere');
  await page.locator('dialog').getByRole('button', { name: 'Move' }).click();
  await page.locator('dialog .trouble').getByText("no queue 'nowhere'").waitFor();
  await page.getByLabel('To queue').fill('to');
  await page.locator('dialog').getByRole('button', { name: 'Move' }).click();
  await page.getByText('3 messages are moved.').waitFor();
  assert.deepEqual([await messages('from'), await messages('to')], [0, 3]);
  await page.goto(`${site.url}/${place('queues', '/', 'to')}`);
  await page.getByRole('heading', { name: 'to', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Purge' }).click();
  await page.locator('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal(await messages('to'), 3, 'nothing is done without a yes');
  await page.getByRole('button', { name: 'Purge' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Purge' }).click();
  await eventually('it is purged', async () => (await messages('to')) === 0);
  await page.locator('header').getByRole('button', { name: 'Delete' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'Queues' }).waitFor();
  const left = await site.api('GET', 'queues/%2F?columns=name');
  assert.ok(!left.some(({ name }) => name === 'to'));
});

test('a queue is bound and unbound, and its consumers and charts are shown', BOUNDED, async (t) => {
  await declare('bound');
  const channel = await site.channel(t, 'reader');
  await channel.consume('bound', (message) => channel.ack(message), { consumerTag: 'the-reader' });
  const page = await site.open(t, place('queues', '/', 'bound'));
  await page.getByText('the-reader').waitFor();
  const binding = await unfold(page, 'Bind');
  await binding.getByLabel('From exchange').fill('amq.topic');
  await binding.getByLabel('Routing key').fill('a.#');
  await binding.getByRole('button', { name: 'Bind' }).click();
  await page.locator('main table').getByRole('link', { name: 'amq.topic' }).waitFor();
  site.feed(channel, () => channel.publish('amq.topic', 'a.b', Buffer.from('x')));
  await eventually('it is delivered', async () => /[1-9]/.test(await figure(page, 'out').innerText()));
  await page.getByRole('button', { name: '1 min' }).click();
  const published = page.locator('.chart').last().locator('.legend li').first();
  await eventually('the chart has it', async () => /[1-9]/.test(await published.innerText()));
  assert.equal(await page.locator('.chart canvas').count(), 2);
  await page.getByRole('button', { name: 'Unbind' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Unbind' }).click();
  await page.locator('main table').getByRole('link', { name: 'amq.topic' }).waitFor({ state: 'detached' });
});
