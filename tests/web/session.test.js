// Logging in and out, and what is offered to whom.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBroker } from '../node/leveret.js';
import { BOUNDED, eventually, figure, place, siteForThisFile } from './site.js';

const site = siteForThisFile({ 'auth.failed_login_delay': '10ms' });

async function logIn(page, user, password) {
  await page.fill('input[name=username]', user);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit]');
}

test('who has the password gets in, stays over a reload, and gets out', BOUNDED, async (t) => {
  const page = await site.open(t, '', { user: null });
  await logIn(page, 'guest', 'wrong');
  await page.getByText('User and password do not fit.').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Log in with' }).count(), 0, 'there is no provider');
  await logIn(page, 'guest', 'guest');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.equal(await page.locator('.who').innerText(), 'guest\nadministrator');
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Strict']);
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert.ok(!kept.includes('lvrt.') && !kept.includes('guest'), kept);
  await page.reload();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
});

test('another broker on the same host logs nobody out', BOUNDED, async (t) => {
  const other = await startBroker();
  t.after(() => other.stop());
  const page = await site.open(t);
  await page.goto(`http://${other.addresses.http}/`);
  await logIn(page, 'guest', 'guest');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.goto(`${site.url}/#/queues`);
  await page.getByRole('heading', { name: 'Queues' }).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  await page.goto(`http://${other.addresses.http}/#/exchanges`);
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
});

test('where somebody wanted to go they are after the login', BOUNDED, async (t) => {
  const page = await site.open(t, '#/exchanges', { user: null });
  await logIn(page, 'guest', 'guest');
  await page.getByRole('heading', { name: 'Exchanges' }).waitFor();
});

test('a session that has ended leads to the login', BOUNDED, async (t) => {
  await site.api('PUT', 'users/leaving', { password: 'x', tags: 'administrator' });
  const page = await site.open(t, '#/queues', { user: 'leaving:x' });
  await site.api('DELETE', 'users/leaving');
  await page.getByRole('button', { name: 'Log in' }).waitFor();
});

test('what somebody may not do is not offered', BOUNDED, async (t) => {
  await site.api('PUT', 'users/looker', { password: 'x', tags: 'management' });
  await site.api('PUT', 'permissions/%2F/looker', { configure: '', write: '', read: '.*' });
  const page = await site.open(t, '', { user: 'looker:x' });
  const links = await page.locator('nav a').allInnerTexts();
  assert.deepEqual(links, ['Overview', 'Queues', 'Exchanges', 'Topology', 'Connections', 'Channels', 'Virtual hosts', 'Policies', 'Limits']);
  assert.equal(await figure(page, 'memory').count(), 0);
  await page.goto(`${site.url}/${place('policies')}`);
  await page.getByRole('heading', { name: 'Policies', exact: true, level: 1 }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Add' }).count(), 0);
  await page.goto(`${site.url}/${place('users')}`);
  await page.getByRole('heading', { name: 'Nothing is here' }).waitFor();
  // What a tag allows and a permission does not is refused in the broker's words.
  await page.goto(`${site.url}/${place('queues')}`);
  await page.getByRole('button', { name: 'Add queue' }).click();
  await page.getByLabel('Name', { exact: true }).fill('mine');
  await page.getByRole('button', { name: 'Add', exact: true }).last().click();
  await page.locator('dialog .trouble').getByText('Access refused.').waitFor();
});

// Another tab is in front of this one, or not any more.
const hide = (page, is) =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, is);

test('another tab that is not seen asks nothing, and asks at once when it is', BOUNDED, async (t) => {
  const page = await site.open(t);
  let asked = 0;
  page.on('request', (request) => (asked += request.url().includes('/api/overview') ? 1 : 0));
  await page.reload();
  await eventually('it asks', () => asked > 0);
  await hide(page, true);
  // Longer than from one question to the next.
  const before = asked;
  await page.waitForTimeout(4000);
  assert.ok(asked <= before + 1, `${asked - before} questions of a hidden tab`);
  const hidden = asked;
  await hide(page, false);
  await eventually('it asks again', () => asked > hidden);
});

test('a broker that is lost is told, and found again', BOUNDED, async (t) => {
  const page = await site.open(t);
  await page.route('**/api/**', (route) => route.abort());
  // What is under way goes on; the stream ends with this.
  await hide(page, true);
  await hide(page, false);
  await page.getByText('The broker does not answer.').waitFor();
  assert.ok(await page.getByRole('heading', { name: 'Overview' }).isVisible(), 'what was known stays');
  await page.unroute('**/api/**');
  await page.locator('.banner').waitFor({ state: 'hidden' });
});
