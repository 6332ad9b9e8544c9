// How numbers, sizes and times are said.
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const count = (n) => whole.format(n || 0);

export function rate(n) {
  if (!n) return '0';
  if (n >= 100) return whole.format(n);
  return n >= 10 ? n.toFixed(1) : n.toFixed(2).replace(/0$/, '');
}

export function bytes(n) {
  let v = n || 0;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (v < 1024 || unit === 'TiB') return `${unit === 'B' || v >= 10 ? Math.round(v) : v.toFixed(1)} ${unit}`;
    v /= 1024;
  }
  return '';
}

export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return s === 0 ? '0 s' : 'under 1 s';
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return s < 63072000 ? `${Math.floor(s / 86400)} days` : 'years';
}

// The gateway's clock counts: a browser's may be off.
let skew = 0;
export function synchronise(now) {
  const t = Date.parse(now);
  if (!Number.isNaN(t)) skew = t - Date.now();
}

export function ago(time, now = Date.now() + skew) {
  const t = Date.parse(time);
  if (!time || Number.isNaN(t) || t <= 0) return 'never';
  const s = (now - t) / 1000;
  return s < 1 ? 'now' : `${duration(s)} ago`;
}

export function clock(time) {
  const d = new Date(time);
  return Number.isNaN(d.getTime()) ? '' : d.toLocaleTimeString('en-GB');
}

export function moment(time) {
  const d = new Date(time);
  return Number.isNaN(d.getTime()) ? '' : d.toLocaleString('en-GB');
}

// value shows JSON in short.
export function value(json) {
  if (json === null || json === undefined) return '–';
  if (typeof json === 'number') return Number.isInteger(json) ? whole.format(json) : String(Number(json.toPrecision(7)));
  if (typeof json === 'string') return json.length > 60 ? `${json.slice(0, 60)}…` : json;
  if (typeof json === 'boolean') return json ? 'true' : 'false';
  const s = JSON.stringify(json);
  return s.length > 60 ? `${s.slice(0, 60)}…` : s;
}

export function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// reasonWords says what the short words of counters mean.
const reasons = {
  undecodable: 'The payload could not be read',
  foreign_device: 'The publisher may not write as that device',
  bad_device: 'The device id is not one that IoT Central takes',
  bad_name: 'A name is not one that IoT Central takes',
  template: 'The value does not fit the device template',
  expression: 'An expression of the mapping failed',
  foreign_topic: 'A discovery message claims a topic that its sender may not publish',
  unmapped: 'No route maps the topic',
  too_large: 'Too large',
  unstorable: 'Too large or invalid to be stored',
  state: 'An earlier message is missing that would explain it',
  internal: 'A fault of the mapping itself',
  unreadable: 'It cannot be read from the disk any more',
  status_400: 'The application calls it invalid (400)',
  status_404: 'The application does not know it (404)',
  status_409: 'The application reports a conflict (409)',
  status_413: 'The application calls it too large (413)',
  status_415: 'The application does not take its type (415)',
  status_422: 'The application calls it invalid (422)',
  queue_full: 'The queue is full',
  disk_full: 'The disk is full',
  dead_letters_full: 'There is no room for dead letters',
  store_failed: 'The store did not take it',
  stopping: 'The gateway was stopping',
  response_not_awaited: 'An answer to a command that nobody waits for',
  expired: 'Older than its class may become (max_age)',
  overflow: 'Made room for newer ones',
  newest: 'Came when there was no room',
  thinned: 'Thinned out for lack of room',
  superseded: 'Replaced by a newer report of the same property',
  dead_lettered: 'Became a dead letter',
  purged: 'Removed by a person',
};
export const reason = (word) => reasons[word] || word.replaceAll('_', ' ');
