// Where in the page somebody is: `#/queues/%2F/orders?page=2`. Names are escaped as a whole, as in the API.

// A link to a place.
export function at(...names) {
  return `#/${names.map((name) => encodeURIComponent(name)).join('/')}`;
}

// The place in the address: its names, and its query.
export function current() {
  const [names, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { names: names.split('/').filter(Boolean).map(unescaped), query: new URLSearchParams(query) };
}

function unescaped(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

// Notes in the address how a list is looked at, without going anywhere. What is empty is left out.
export function note(values) {
  const [names, query = ''] = location.hash.split('?');
  const noted = new URLSearchParams(query);
  for (const [key, value] of Object.entries(values)) {
    if (value === '' || value === null || value === false) noted.delete(key);
    else noted.set(key, value);
  }
  const text = noted.toString();
  history.replaceState(null, '', text ? `${names}?${text}` : names);
}

export function go(...names) {
  location.hash = at(...names);
}
