// Names that would do something if they were taken for markup, paths or queries, in every view.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDED, place, siteForThisFile } from './site.js';

const site = siteForThisFile();

// Markup in text, in attributes of either quotes, in what closes an element that is open, in what browsers repair, in what is
// decoded before or after; templates; ends of scripts, styles and comments; addresses; names of objects' own; paths.
const NAMES = [
  '<script>window.owned = 1</script>',
  '<img src=x onerror="window.owned = 1">',
  '"><svg onload=window.owned=1>',
  "' onmouseover='window.owned=1",
  '</title></textarea><script>window.owned=1</script>',
  'javascript:window.owned=1',
  '{{constructor.constructor("window.owned=1")()}}',
  '${window.owned=1}',
  '%2F/..%2f?a=b&c#d',
  '%',
  'a/b c+d "e" \'f\' \\g',
  '__proto__',
  'constructor',
  '🐇 ünïcode \u202Eesrever',
  '<ScRiPt>window.owned=1</sCrIpT>',
  '<scr<script>ipt>window.owned=1</scr</script>ipt>',
  '<svg><script>window.owned=1</script></svg>',
  '<svg><animate onbegin=window.owned=1 attributeName=x dur=1s>',
  '<svg><a href="javascript:window.owned=1"><text>go</text></a></svg>',
  '<math><mtext><img src=x onerror=window.owned=1></mtext></math>',
  '<iframe srcdoc="<script>parent.owned=1</script>"></iframe>',
  '<details open ontoggle=window.owned=1>',
  '<input autofocus onfocus=window.owned=1>',
  '<body onload=window.owned=1>',
  '<video><source onerror=window.owned=1></video>',
  '<a href="javascript:window.owned=1">go</a>',
  '<base href="//evil.invalid/">',
  '<meta http-equiv="refresh" content="0;url=javascript:window.owned=1">',
  '<form action="javascript:window.owned=1"><button>go</button></form>',
  '<style>*{display:none}</style>',
  '<template><script>window.owned=1</script></template>',
  '--><script>window.owned=1</script><!--',
  ']]><script>window.owned=1</script>',
  '&lt;script&gt;window.owned=1&lt;/script&gt;',
  '%3Cscript%3Ewindow.owned=1%3C/script%3E',
  '\\u003cscript\\u003ewindow.owned=1\\u003c/script\\u003e',
  '";window.owned=1;//',
  "');window.owned=1;//",
  'data:text/html,<script>window.owned=1</script>',
  '" style="background:url(//evil.invalid)" x="',
];

const p = (...names) => names.map(encodeURIComponent).join('/');

async function everything(t) {
  const channel = await site.channel(t, NAMES[0]);
  for (const name of NAMES) {
    await site.api('PUT', `vhosts/${p(name)}`, { description: name, tags: [name.slice(0, 20)] });
    await site.api('PUT', `users/${p(name)}`, { password: 'x', tags: 'management' });
    await site.api('PUT', `permissions/${p('/', name)}`, { configure: '^<b>', write: '.*', read: '.*' });
    await site.api('PUT', `policies/${p('/', name)}`, { pattern: '<i>', definition: { 'dead-letter-exchange': name }, 'apply-to': 'queues' });
    await channel.assertQueue(name, { arguments: { 'x-dead-letter-exchange': name, [name]: name } });
    await channel.assertExchange(name, 'topic', { arguments: { [name]: name } });
    await channel.bindQueue(name, name, name, { [name]: name });
    await channel.consume(name, () => {}, { consumerTag: name, arguments: { [name]: name } });
    channel.publish(name, name, Buffer.from(name), { headers: { [name]: name }, contentType: name, messageId: name });
  }
  await channel.waitForConfirms();
}

test('nothing of it is ever more than text', BOUNDED, async (t) => {
  await everything(t);
  for (const name of NAMES) await site.channel(t, name);
  const page = await site.open(t);
  const views = ['overview', 'queues', 'exchanges', 'topology', 'connections', 'channels', 'users', 'vhosts', 'policies', 'limits', 'definitions', 'node'];
  for (const view of views) {
    await page.goto(`${site.url}/${place(view)}?size=500`);
    await page.locator('main tbody tr, main .tile, main form, main .graph svg').first().waitFor();
    if (['queues', 'exchanges', 'users', 'vhosts', 'policies'].includes(view)) {
      for (const name of NAMES) await page.locator('main tbody th').getByText(name, { exact: true }).filter({ visible: true }).first().waitFor();
    }
    if (view === 'connections') {
      for (const name of NAMES) await page.locator('main tbody').getByText(name, { exact: true }).first().waitFor();
    }
    assert.equal(await page.evaluate(() => window.owned), undefined, view);
  }
  const foreign = await page.evaluate(() => [...document.querySelectorAll('main script, main img, main iframe')].length);
  assert.equal(foreign, 0);
});

test('each thing of such a name is found by its link', BOUNDED, async (t) => {
  await everything(t);
  const page = await site.open(t);
  // The paths of all views are made alike: each name is looked at in one of them.
  const views = ['queues', 'exchanges', 'users'];
  for (const [number, view] of views.entries()) {
    for (const name of NAMES.filter((_, index) => index % views.length === number)) {
      await page.goto(`${site.url}/#/${view}?size=500`);
      await page.getByRole('heading', { level: 1, name: view, exact: false }).waitFor();
      await page.locator('main tbody th').getByRole('link', { name, exact: true }).first().click();
      await page.waitForFunction((wanted) => document.querySelector('main h1')?.textContent === wanted, name);
      await page.locator('main dl.facts dd').first().waitFor();
      assert.ok(await page.locator('main > .trouble').isHidden(), `${view}: ${name}`);
      assert.equal(await page.evaluate(() => window.owned), undefined, name);
    }
  }
});

test('a message of it is shown as it is', BOUNDED, async (t) => {
  const [name] = NAMES;
  await site.api('PUT', `queues/${p('/', 'hostile messages')}`, {});
  const body = { routing_key: 'hostile messages', payload: name, payload_encoding: 'string', properties: { headers: { [name]: name } } };
  await site.api('POST', 'exchanges/%2F/amq.default/publish', body);
  const page = await site.open(t, place('queues', '/', 'hostile messages'));
  await page.getByText('Get messages').click();
  await page.getByRole('button', { name: 'Get', exact: true }).click();
  await page.locator('.message').waitFor();
  assert.equal(await page.locator('.message pre').textContent(), name);
  assert.equal(await page.evaluate(() => window.owned), undefined);
});
