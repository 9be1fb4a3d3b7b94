// Who is logged in, and what they may do. The session itself is a cookie that no script sees.

import { ask } from './api.js';

const VHOST = 'leveret.vhost';

export const session = { user: null, tags: [], vhosts: [], vhost: sessionStorage.getItem(VHOST) ?? '' };

// What each tag brings with it.
const LEVELS = {
  management: ['management', 'policymaker', 'monitoring', 'administrator'],
  policymaker: ['policymaker', 'administrator'],
  monitoring: ['monitoring', 'administrator'],
  administrator: ['administrator'],
};

// Whether a tag lets them do this. Permissions inside a vhost are the broker's to check.
export function may(level) {
  return LEVELS[level].some((tag) => session.tags.includes(tag));
}

// Finds out who is logged in.
export async function load() {
  const { name, tags } = await ask('GET', 'whoami');
  session.user = name;
  session.tags = tags;
  await loadVhosts();
}

// Which vhosts there are to choose from.
export async function loadVhosts() {
  const found = await ask('GET', 'vhosts?columns=name');
  session.vhosts = found.map((vhost) => vhost.name).sort();
  if (!session.vhosts.includes(session.vhost)) choose('');
}

// Chooses the vhost whose things are listed; the empty text is all of them.
export function choose(vhost) {
  session.vhost = vhost;
  sessionStorage.setItem(VHOST, vhost);
}

export async function logIn(username, password) {
  await ask('POST', 'login', { form: { username, password } });
  await load();
}

export async function logOut() {
  await ask('DELETE', 'login');
  forget();
}

export function forget() {
  session.user = null;
  session.tags = [];
}
