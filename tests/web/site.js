// One broker and one browser per test file. The browser is Chromium: the one that CHROMIUM names, or another one on the PATH.

import assert from 'node:assert/strict';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { after, before } from 'node:test';
import amqp from 'amqplib';
import { chromium } from 'playwright-core';
import { startBroker } from '../node/leveret.js';

// How long anything on the page may take, in milliseconds.
const PATIENCE = 20_000;

// For `test`: none may hang.
export const BOUNDED = { timeout: 90_000 };

const NAMES = process.env.CHROMIUM ? [process.env.CHROMIUM] : ['chromium', 'chromium-browser', 'google-chrome'];

function findChromium() {
  const inside = (name) => process.env.PATH.split(path.delimiter).map((directory) => path.join(directory, name));
  const places = NAMES.flatMap((name) => (name.includes('/') ? [name] : inside(name)));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

// Starts both before the tests of the calling file, and ends them after these.
export function siteForThisFile(settings = {}) {
  const site = new Site(settings['http.path_prefix'] ?? '');
  before(async () => {
    assert.ok(!process.env.LEVERET_TEST_URL, 'the page is that of a broker of its own');
    const executablePath = findChromium();
    assert.ok(executablePath, 'no Chromium: name one by CHROMIUM');
    site.broker = await startBroker({ 'stats.interval': '500ms', ...settings });
    // Without a sandbox it runs as root too; nothing but the broker's own page is looked at.
    site.browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  });
  after(async () => {
    await site.browser?.close();
    await site.broker?.stop();
  });
  return site;
}

class Site {
  constructor(prefix) {
    this.prefix = prefix;
  }

  get url() {
    return `http://${this.broker.addresses.http}${this.prefix}`;
  }

  // Asks the API, as an administrator unless somebody else is named. Gives the JSON of the answer.
  async api(method, where, body, user = 'guest:guest') {
    const headers = { Authorization: `Basic ${Buffer.from(user).toString('base64')}` };
    const response = await fetch(`${this.url}/api/${where}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${where}: ${response.status} ${text}`);
    return text && JSON.parse(text);
  }

  // A channel on a connection to a vhost, which ends with the test.
  async channel(t, name, vhost = '/') {
    const url = new URL(this.broker.url);
    url.pathname = encodeURIComponent(vhost);
    const connection = await amqp.connect(url.href, { clientProperties: { connection_name: name } });
    connection.on('error', () => {});
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {});
    t.after(() => {
      clearInterval(channel.feed);
      return connection.close().catch(() => {});
    });
    return channel;
  }

  // Publishes by a channel all the time, until it is closed.
  feed(channel, publish) {
    channel.feed = setInterval(publish, 10);
    channel.on('close', () => clearInterval(channel.feed));
    channel.connection.stream.on('close', () => clearInterval(channel.feed));
  }

  // A page at a place of the site, with somebody logged in; `user` null is nobody. What the page complains of fails the test.
  async open(t, place = '', { user = 'guest:guest', ...options } = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    if (user) await context.addCookies([await this.#cookie(user)]);
    const page = await context.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(error.stack));
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog says ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('console', (message) => {
      // That somebody is not logged in, or that something is gone, is told by a status.
      const isStatus = /Failed to load resource/.test(message.text());
      if (message.type() === 'error' && !isStatus) complaints.push(message.text());
    });
    t.after(async () => {
      await context.close();
      assert.deepEqual(complaints, []);
    });
    await page.goto(`${this.url}/${place}`);
    await page.waitForSelector('main h1');
    return page;
  }

  async #cookie(user) {
    const [username, password] = user.split(':');
    const response = await fetch(`${this.url}/api/login`, { method: 'POST', body: new URLSearchParams({ username, password }) });
    assert.equal(response.status, 200, await response.clone().text());
    const { token } = await response.json();
    return { name: `leveret_session_${new URL(this.url).port}`, value: token, domain: '127.0.0.1', path: `${this.prefix}/`, httpOnly: true, sameSite: 'Strict' };
  }
}

// A place of the page, of names as they are.
export function place(...names) {
  return `#/${names.map(encodeURIComponent).join('/')}`;
}

// Asks again until the answer is true.
export async function eventually(what, question) {
  const deadline = Date.now() + PATIENCE;
  while (!(await question())) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// The text of a tile.
export const figure = (page, id) => page.locator(`[data-tile="${id}"] .figure`);

// The form below a heading that is opened with it.
export async function unfold(page, title) {
  const part = page.locator('details.card').filter({ has: page.locator(`summary:has-text("${title}")`) });
  await part.locator('summary').click();
  return part;
}
