// Who is logged in, and what they may do. The session itself is a cookie that no script sees.

import { ask, leaveFor } from './api.js';

const VHOST = 'leveret.vhost';

// Where somebody was before they went to the provider.
const PLACE = 'leveret.place';

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

// What the provider is called at which one can log in; null if there is none.
export async function provider() {
  const { oauth_enabled: is, oauth_label: label } = await ask('GET', 'auth');
  return is ? label : null;
}

// Goes to the provider, which sends whoever logs in back to the page.
export function logInAtProvider() {
  sessionStorage.setItem(PLACE, location.hash);
  leaveFor('login/oauth');
}

// The place in the address from which somebody went to the provider, told once; empty if there was none.
export function placeBefore() {
  const place = sessionStorage.getItem(PLACE) ?? '';
  sessionStorage.removeItem(PLACE);
  return place;
}

export async function logOut() {
  await ask('DELETE', 'login');
  forget();
}

export function forget() {
  session.user = null;
  session.tags = [];
}
