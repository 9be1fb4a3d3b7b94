// Logging in.

import { form } from '../dialog.js';
import { h } from '../dom.js';
import { logIn, logInAtProvider, provider } from '../session.js';

// What the broker says of a login at the provider that came to nothing, by its words.
const TROUBLES = {
  denied: 'The provider did not let you in.',
  stale: 'This login took too long, or began in another browser. Try again.',
  provider: 'The provider does not do its part. The log of the broker says why.',
  token: 'The broker does not take the access token of the provider. Its log says why.',
  tag: 'You are known, but your access token has no tag that lets you use this page.',
  busy: 'The broker has too much to do. Try again.',
};

// The form; `begin` is called once somebody is logged in. `word` is what the broker says of a login before.
export function login(begin, word) {
  const fields = [
    { name: 'username', label: 'User', required: true, autocomplete: 'username' },
    { name: 'password', label: 'Password', type: 'password', required: true, autocomplete: 'current-password' },
  ];
  const submit = async ({ username, password }) => {
    try {
      await logIn(username, password);
    } catch (error) {
      throw error.status === 401 && /not_authorized/i.test(error.message) ? new Error('User and password do not fit.') : error;
    }
    begin();
  };
  const trouble = Object.hasOwn(TROUBLES, word ?? '') && h('p.trouble', { role: 'alert' }, TROUBLES[word]);
  const other = h('div');
  offerProvider(other);
  return h('main.login', h('div.card', h('div.brand', h('span.logo'), h('h1', 'Leveret')), trouble, form(fields, { action: 'Log in', submit }), other));
}

// A way to log in without a password here, if there is one.
async function offerProvider(place) {
  // Without an answer there is the form.
  const label = await provider().catch(() => null);
  if (label === null) return;
  const button = h('button.button', { type: 'button', onclick: logInAtProvider }, `Log in with ${label}`);
  place.replaceChildren(h('div.buttons', button));
}
