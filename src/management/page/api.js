// Requests to the API of the broker that this page came from.

// Beside the page, whatever is in front of both.
const ROOT = new URL('../api/', import.meta.url);

// How long an answer may take, in milliseconds. Logins with a wrong password are held back on purpose.
const PATIENCE = 35_000;

// What went wrong, in the broker's words. `status` is 0 if there was no answer.
class Refusal extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// A path of names, each escaped as a whole: `path('queues', '/', 'a/b')`.
export function path(...names) {
  return names.map((name) => encodeURIComponent(name)).join('/');
}

// Whoever wants to know that a session is over, or whether the broker is there.
export const listeners = { ended: () => {}, reached: () => {}, lost: () => {} };

// Asks, and returns what was answered: JSON, or null without any. `take` reads the answer otherwise.
export async function ask(method, where, { body, form, signal, take, headers = {} } = {}) {
  const patience = AbortSignal.timeout(PATIENCE);
  const request = {
    method,
    // It keeps the browser from asking for a password itself.
    headers: { ...headers, 'X-Requested-With': 'Leveret' },
    signal: signal ? AbortSignal.any([signal, patience]) : patience,
  };
  if (form) request.body = new URLSearchParams(form);
  else if (body !== undefined) {
    request.body = typeof body === 'string' ? body : JSON.stringify(body);
    request.headers['Content-Type'] = 'application/json';
  }
  let response;
  try {
    response = await fetch(new URL(where, ROOT), request);
  } catch (error) {
    if (signal?.aborted) throw error;
    listeners.lost();
    throw new Refusal(0, 'The broker does not answer.');
  }
  listeners.reached();
  if (!response.ok) throw await refused(response, where);
  if (take) return take(response);
  const text = await response.text();
  return text === '' ? null : JSON.parse(text);
}

async function refused(response, where) {
  const told = await response.json().catch(() => ({}));
  // The same status says that somebody is unknown, and that they may not do this.
  if (response.status === 401 && told.error === 'not_authorized' && where !== 'login') listeners.ended();
  return refusal(response.status, told, response.statusText);
}

// What a refusal says, by its status and JSON.
export function refusal(status, told, text = '') {
  const reason = told.reason || told.error || text || `status ${status}`;
  return new Refusal(status, typeof reason === 'string' ? reason : JSON.stringify(reason));
}

// Leaves the page for a path of the API, which leads back.
export function leaveFor(where) {
  location.assign(new URL(where, ROOT));
}

// A stream of what is at paths, told whenever it is something else.
export function openStream(paths) {
  return new EventSource(new URL(`stream?${new URLSearchParams(paths.map((path) => ['path', path]))}`, ROOT));
}

// What a change that takes long writes line by line: how far it is, and how it ended.
export async function askLong(method, where, body, progress) {
  let last = null;
  await ask(method, where, {
    body,
    take: async (response) => {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + value).split('\n');
        rest = lines.pop();
        for (const line of lines.filter(Boolean)) {
          last = JSON.parse(line);
          if ('done' in last) progress(last.done, last.of);
        }
      }
    },
  });
  if (last === null || last.error !== undefined) throw new Refusal(200, last?.error ?? 'The answer broke off.');
  return last.ok;
}
