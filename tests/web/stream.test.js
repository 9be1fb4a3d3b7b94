// How the page hears of changes: by a stream, and without one by asking.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, eventually, siteForThisFile } from './site.js';

const site = siteForThisFile();

const isStream = (request) => request.url().includes('/api/stream');
const isOfQueues = (request) => request.url().includes('/api/queues?');

const add = (name) => site.api('PUT', `queues/%2F/${name}`, {});
const row = (page, name) => page.locator('main tbody th').getByText(name, { exact: true });

// A view of the queues that is told by a stream, and the requests from then on.
async function streamed(t) {
  const page = await site.open(t);
  const began = page.waitForResponse((response) => isStream(response.request()) && response.url().includes('queues'));
  await page.goto(`${site.url}/#/queues`);
  const response = await began;
  assert.equal(response.status(), 200);
  const requests = [];
  page.on('request', (request) => requests.push(request));
  return { page, requests, stream: response.request() };
}

test('a view is told of changes and asks for nothing', BOUNDED, async (t) => {
  const { page, requests } = await streamed(t);
  for (const name of ['first', 'second', 'third']) {
    await add(name);
    await row(page, name).waitFor();
  }
  assert.deepEqual(requests.filter(isOfQueues).map((request) => request.url()), []);
});

test('another search is another stream', BOUNDED, async (t) => {
  await add('needle');
  await add('straw');
  const { page } = await streamed(t);
  await row(page, 'straw').waitFor();
  const again = page.waitForResponse((response) => isStream(response.request()) && response.url().includes('need'));
  await page.locator('[data-search]').fill('need');
  await again;
  await row(page, 'straw').waitFor({ state: 'detached' });
  await add('needed');
  await row(page, 'needed').waitFor();
});

test('a view that is left is not streamed any more', BOUNDED, async (t) => {
  const { page, stream } = await streamed(t);
  const ended = page.waitForEvent('requestfailed', (request) => request === stream);
  await page.goto(`${site.url}/#/exchanges`);
  await ended;
});

test('a hidden tab has no stream, and has one again when it is seen', BOUNDED, async (t) => {
  const { page, stream } = await streamed(t);
  const ended = page.waitForEvent('requestfailed', (request) => request === stream);
  const turn = (is) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, is);
  await turn(true);
  await ended;
  const again = page.waitForRequest(isStream);
  await turn(false);
  await again;
});

test('without streams it is asked again', BOUNDED, async (t) => {
  const page = await site.open(t);
  let refused = 0;
  await page.route('**/api/stream*', (route) => {
    refused += 1;
    return route.abort();
  });
  await page.goto(`${site.url}/#/queues`);
  await eventually('a stream was wanted', () => refused > 0);
  await add('asked for');
  await row(page, 'asked for').waitFor();
});

test('a stream that says nothing is given up, and it is asked again', BOUNDED, async (t) => {
  const page = await site.open(t);
  // Streams that tell what the test has them tell.
  await page.addInitScript(() => {
    window.streams = [];
    window.EventSource = class extends EventTarget {
      isOpen = true;
      constructor(url) {
        super();
        this.isOfQueues = String(url).includes('queues');
        window.streams.push(this);
      }
      close() {
        this.isOpen = false;
      }
    };
  });
  await page.clock.install();
  await page.goto('about:blank');
  await page.goto(`${site.url}/#/queues`);
  const open = () => page.evaluate(() => window.streams.filter(({ isOpen, isOfQueues }) => isOpen && isOfQueues).length);
  const saysItIsAlive = () => page.evaluate(() => window.streams.at(-1).dispatchEvent(new Event('alive')));
  await eventually('there is a stream', async () => (await open()) === 1);
  await saysItIsAlive();
  let asked = 0;
  page.on('request', (request) => (asked += isOfQueues(request) ? 1 : 0));
  for (let times = 0; times < 3; times += 1) {
    await page.clock.fastForward(30_000);
    await saysItIsAlive();
  }
  assert.deepEqual([await open(), asked], [1, 0]);
  await page.clock.fastForward(41_000);
  assert.equal(await open(), 0);
  await eventually('it is asked', () => asked > 0);
  // And after a while there is another one.
  await page.clock.fastForward(11_000);
  await eventually('there is another stream', async () => (await open()) === 1);
});
