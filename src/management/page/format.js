// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const one = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

export function count(value) {
  return isNumber(value) ? whole.format(value) : '–';
}

export function compact(value) {
  if (!isNumber(value)) return '–';
  if (Math.abs(value) >= 10_000) return short.format(value);
  return Math.abs(value) < 100 ? one.format(value) : whole.format(value);
}

export function rate(value) {
  return isNumber(value) ? `${compact(value)}/s` : '–';
}

export function bytes(value) {
  if (!isNumber(value)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 100 || unit === 0 ? whole.format(size) : one.format(size)} ${units[unit]}`;
}

export const byteRate = (value) => (isNumber(value) ? `${bytes(value)}/s` : '–');

// Milliseconds.
export function duration(value) {
  if (!isNumber(value)) return '–';
  const seconds = Math.floor(value / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

export function milliseconds(value) {
  if (value >= 1000) return `${one.format(value / 1000)} s`;
  return isNumber(value) ? `${value < 10 ? value.toFixed(2) : one.format(value)} ms` : '–';
}

// Milliseconds since 1970.
export function moment(value) {
  return isNumber(value) ? new Date(value).toLocaleString() : '–';
}

export function yes(value) {
  return value ? 'yes' : 'no';
}

// A value of JSON in one line.
export function plain(value) {
  if (value === null || value === undefined) return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

// The name of an exchange: the default one has none.
export function exchangeName(name) {
  return name === '' ? '(default)' : name;
}
