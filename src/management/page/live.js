// What is shown stays true: one schedule for everything that is watched. A tab that nobody sees asks nothing, and a question
// is not asked again before it is answered. Views know only `watch`: answers may come from elsewhere than by asking.

import { ask } from './api.js';

// From an answer to the next question, in milliseconds.
const EVERY = 3000;

// After failures that long at most.
const LONGEST = 30_000;

const watched = new Set();
let timer = null;

// Things that are watched together, until they are not any more.
export class Scope {
  #own = new Set();

  // Tells `then` what is at a path now and from then on; the path may be a function. Whoever changes what it depends on
  // calls the function that is returned. `failed` is told what was refused; `take` reads what is no JSON.
  watch(where, then, { every = EVERY, failed = () => {}, take = null } = {}) {
    const entry = { where, then, failed, take, every, due: 0, failures: 0, asking: null };
    this.#own.add(entry);
    watched.add(entry);
    schedule();
    return () => {
      entry.asking?.abort();
      entry.asking = null;
      entry.due = 0;
      schedule();
    };
  }

  end() {
    for (const entry of this.#own) {
      watched.delete(entry);
      entry.asking?.abort();
    }
    this.#own.clear();
  }
}

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return;
  const waiting = [...watched].filter((entry) => entry.asking === null);
  if (waiting.length === 0) return;
  const next = Math.min(...waiting.map((entry) => entry.due));
  timer = setTimeout(askAll, Math.max(0, next - performance.now()));
}

function askAll() {
  const now = performance.now();
  for (const entry of watched) {
    if (entry.asking === null && entry.due <= now) askOne(entry);
  }
  schedule();
}

async function askOne(entry) {
  const asking = new AbortController();
  entry.asking = asking;
  const isCurrent = () => entry.asking === asking && watched.has(entry);
  try {
    const where = typeof entry.where === 'function' ? entry.where() : entry.where;
    const answer = await ask('GET', where, { signal: asking.signal, take: entry.take });
    if (!isCurrent()) return;
    entry.failures = 0;
    entry.then(answer);
  } catch (error) {
    if (!isCurrent()) return;
    if (error.status === undefined) console.error(error);
    entry.failures += 1;
    entry.failed(error);
  } finally {
    if (entry.asking === asking) {
      entry.asking = null;
      entry.due = performance.now() + Math.min(LONGEST, entry.every * 2 ** Math.min(entry.failures, 5));
      schedule();
    }
  }
}

// Everything anew, when the broker may be there again.
export function refreshAll() {
  for (const entry of watched) entry.due = 0;
  schedule();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else refreshAll();
});
