// What is shown stays true: one schedule for everything that is watched. What is watched is asked for once, and from then on the
// broker tells of changes by a stream; without one it is asked for again and again, never before the last answer. A tab that
// nobody sees has no stream and asks nothing. Views know only `watch`.

import { ask, listeners, openStream, refusal } from './api.js';

// From an answer to the next question, in milliseconds.
const EVERY = 3000;

// After failures that long at most.
const LONGEST = 30_000;

// How long nothing else has to be wanted before a stream begins, and how long it is done without one that failed.
const SETTLED = 250;
const WITHOUT = 10_000;

// How long a stream may be silent; the broker says every 15 seconds that it is alive. Proxies may keep it back.
const SILENT = 40_000;

// As many paths as a stream has.
const MOST_PATHS = 16;

const watched = new Set();
let timer = null;

// The stream: its paths, and whether it tells. `due` is when there may be another one.
const live = { source: null, paths: new Set(), isOpen: false, due: 0, timer: null, silence: null };

// Things that are watched together, until they are not any more.
export class Scope {
  #own = new Set();

  // Tells `then` what is at a path now and from then on; the path may be a function. Whoever changes what it depends on
  // calls the function that is returned. `failed` is told what was refused; `take` reads what is no JSON. What has a pace of
  // its own (`every`) is always asked for.
  watch(where, then, { every = null, failed = () => {}, take = null } = {}) {
    const isStreamed = every === null && take === null;
    const entry = { where, then, failed, take, isStreamed, every: every ?? EVERY, due: 0, failures: 0, asking: null, path: null };
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
    settle();
  }
}

// Whether the stream tells of it.
const isTold = (entry) => live.isOpen && entry.isStreamed && live.paths.has(entry.path);

// When it is to be asked for: at once if somebody wants it so.
const dueOf = (entry) => (entry.due > 0 && isTold(entry) ? Infinity : entry.due);

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return;
  const next = Math.min(...[...watched].filter((entry) => entry.asking === null).map(dueOf));
  if (next === Infinity) return;
  timer = setTimeout(askAll, Math.max(0, next - performance.now()));
}

function askAll() {
  const now = performance.now();
  for (const entry of watched) {
    if (entry.asking === null && dueOf(entry) <= now) askOne(entry);
  }
  schedule();
}

async function askOne(entry) {
  const asking = new AbortController();
  entry.asking = asking;
  const isCurrent = () => entry.asking === asking && watched.has(entry);
  try {
    const where = typeof entry.where === 'function' ? entry.where() : entry.where;
    entry.path = null;
    const answer = await ask('GET', where, { signal: asking.signal, take: entry.take });
    if (!isCurrent()) return;
    entry.path = where;
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
      settle();
      schedule();
    }
  }
}

// Sees to it, soon, that there is a stream of all that was answered, and no other one.
function settle() {
  clearTimeout(live.timer);
  live.timer = setTimeout(stream, SETTLED);
}

function stream() {
  const entries = [...watched].filter((entry) => entry.isStreamed);
  // Answers that are to come would change the paths.
  if (!document.hidden && entries.some((entry) => entry.asking !== null)) return;
  const wanted = new Set(document.hidden ? [] : entries.map(({ path }) => path).filter((path) => path !== null));
  const isSame = wanted.size === live.paths.size && [...wanted].every((path) => live.paths.has(path));
  if (isSame) return;
  closeStream();
  if (wanted.size === 0 || wanted.size > MOST_PATHS || performance.now() < live.due) return;
  live.paths = wanted;
  live.source = openStream([...wanted]);
  live.source.addEventListener('message', ({ data }) => {
    hear();
    tell(JSON.parse(data));
  });
  live.source.addEventListener('alive', hear);
  live.source.addEventListener('error', giveUp);
}

// The stream tells; until then, and after a silence, it is asked.
function hear() {
  clearTimeout(live.silence);
  live.silence = setTimeout(giveUp, SILENT);
  if (live.isOpen) return;
  live.isOpen = true;
  schedule();
}

function giveUp() {
  live.due = performance.now() + WITHOUT;
  closeStream();
}

// From then on it is asked again.
function closeStream() {
  clearTimeout(live.silence);
  live.source?.close();
  Object.assign(live, { source: null, paths: new Set(), isOpen: false });
  schedule();
}

function tell({ path, status, body }) {
  listeners.reached();
  for (const entry of watched) {
    // Who asks hears what is newer.
    if (!entry.isStreamed || entry.path !== path || entry.asking !== null) continue;
    if (status === 200) entry.then(body);
    else entry.failed(refusal(status, body));
  }
}

// Everything anew, when the broker may be there again.
export function refreshAll() {
  for (const entry of watched) entry.due = 0;
  schedule();
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) return refreshAll();
  clearTimeout(timer);
  closeStream();
});
