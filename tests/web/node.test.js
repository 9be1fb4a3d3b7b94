// The node, with a disk.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { BOUNDED, eventually, place, siteForThisFile } from './site.js';

const directory = mkdtempSync(path.join(tmpdir(), 'leveret-web-'));
const site = siteForThisFile({ 'storage.data_dir': directory, 'storage.journal_file': '256KiB', 'storage.journal_budget': '512KiB' });
// The broker has ended before: what is registered first comes first.
after(() => rmSync(directory, { recursive: true }));

const part = (page, title) => page.locator('section.card').filter({ has: page.getByRole('heading', { name: title, exact: true }) });

// A fact of a part, as it stands there.
const fact = (page, title, label) => part(page, title).locator('dl > div').filter({ has: page.getByText(label, { exact: true }) }).locator('dd').innerText();

test('the journal, segments, checkpoints and syncs are told', BOUNDED, async (t) => {
  const page = await site.open(t, place('node'));
  await eventually('a journal', async () => /MiB|KiB/.test(await fact(page, 'Journal', 'On disk')));
  assert.equal(await fact(page, 'Segments', 'Files'), '0');
  assert.equal(await fact(page, 'Checkpoints', 'Last'), 'none yet');
  const channel = await site.channel(t, 'backlog');
  await channel.assertQueue('backlog');
  for (let sent = 0; sent < 200; sent += 1) channel.sendToQueue('backlog', Buffer.alloc(10_000), { persistent: true });
  await channel.waitForConfirms();
  await eventually('segments', async () => /[1-9]/.test(await fact(page, 'Segments', 'Files')));
  assert.match(await fact(page, 'Segments', 'On disk'), /MiB|KiB/);
  assert.match(await fact(page, 'Segments', 'Still needed'), /iB, \d+ %$/);
  assert.match(await fact(page, 'Checkpoints', 'It took'), /ms|s$/);
  assert.match(await fact(page, 'Checkpoints', 'It wrote to segments'), /iB/);
  const syncs = part(page, 'How long syncs of the journal took');
  assert.match(await syncs.locator('p').innerText(), /^Half of them took (up to [\d.]+ m?s|longer), 99 of 100 (up to [\d.]+ m?s|longer)\.$/);
  const bars = await syncs.getByRole('meter').evaluateAll((meters) => meters.map((meter) => [Number(meter.ariaValueNow), meter.firstChild.clientWidth / meter.clientWidth]));
  assert.equal(bars.length, 13);
  const most = Math.max(...bars.map(([number]) => number));
  for (const [number, length] of bars) assert.ok(Math.abs(length - number / most) < 0.02, `${number} of ${most} are ${length} of the width`);
});
