// Logging in.

import { form } from '../dialog.js';
import { h } from '../dom.js';
import { logIn } from '../session.js';

// The form; `begin` is called once somebody is logged in.
export function login(begin) {
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
  return h('main.login', h('div.card', h('div.brand', h('span.logo'), h('h1', 'Leveret')), form(fields, { action: 'Log in', submit })));
}
