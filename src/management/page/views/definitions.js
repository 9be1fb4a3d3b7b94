// Definitions: all that is declared and set, as a file.

import { ask, path } from '../api.js';
import { form } from '../dialog.js';
import { h, put } from '../dom.js';
import { count } from '../format.js';
import { heading, notice, section } from '../parts.js';
import { loadVhosts, session } from '../session.js';

export function definitions({ showSession }) {
  const scopes = [['', 'the whole broker'], ...session.vhosts.map((vhost) => [vhost, `vhost ${vhost}`])];
  const of = { name: 'vhost', label: 'Of', type: 'select', options: scopes, value: session.vhost };
  const download = form([of], { action: 'Download', submit: ({ vhost }) => save(vhost) });
  const report = h('div', { role: 'status' });
  const fields = [
    { name: 'file', label: 'File', type: 'file', required: true },
    { ...of, label: 'Into' },
    { name: 'dry', label: 'Only tell what would change', type: 'check', value: true },
  ];
  const submit = async (values) => {
    put(report);
    const told = await upload(values);
    if (values.dry) {
      put(report, ...described(told));
      return;
    }
    notice('The definitions are imported.');
    await loadVhosts();
    showSession();
  };
  return {
    title: 'Definitions',
    content: [
      heading('Definitions').node,
      h('p.faint', 'Vhosts, users with their password hashes, permissions, queues, exchanges, bindings, policies and parameters. Messages are not in them. An import adds and changes, all of it or nothing, and deletes nothing.'),
      section('Download', download),
      section('Upload', form(fields, { action: 'Import', submit }), report),
    ],
  };
}

const where = (vhost) => (vhost === '' ? 'definitions' : path('definitions', vhost));

async function save(vhost) {
  const text = await ask('GET', where(vhost), { take: (response) => response.text() });
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const name = ['leveret', vhost.replace(/[^\w.-]+/g, '_'), new Date().toISOString().slice(0, 10)].filter(Boolean).join('-');
  const link = h('a', { href: url, download: `${name}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(url);
}

async function upload({ file, vhost, dry }) {
  return ask('POST', `${where(vhost)}?dry_run=${dry}`, { body: await file.text() });
}

// What an import would do.
function described({ counts, ...left }) {
  const WORDS = { left_unchanged: 'Left as they are', skipped: 'Not imported', unsupported: 'Imported, and without effect' };
  const rows = Object.entries(counts).map(([list, { created, changed, unchanged }]) => h('li', h('strong', list), `: ${count(created)} new, ${count(changed)} changed, ${count(unchanged)} as they were`));
  const others = Object.entries(left).filter(([, lines]) => lines.length > 0);
  return [
    h('h2', 'It would be'),
    h('ul.plain', rows),
    ...others.map(([key, lines]) => h('div', h('h2', WORDS[key] ?? key), h('ul.plain', lines.map((line) => h('li', typeof line === 'string' ? line : JSON.stringify(line)))))),
  ];
}
