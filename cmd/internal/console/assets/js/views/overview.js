import { get } from '../api.js';
import { h, svg, replace, set } from '../dom.js';
import { ago, bytes, count, duration, moment, rate, reason } from '../format.js';
import { every } from '../live.js';
import { chart } from '../chart.js';

const classColumns = ['Class', 'Waiting', 'Size', 'Oldest', 'Stored', 'Delivered', 'Left undelivered'];

const signs = { ok: 'M9 24l9 9 17-20', note: 'M22 12v14m0 6v.5', warn: 'M22 12v14m0 6v.5', fault: 'M14 14l16 16m0-16l-16 16', none: '' };

const states = {
  online: 'Connected', starting: 'Starting', degraded: 'Answers with faults', throttled: 'Slowed down by the application',
  unauthorised: 'Token refused', offline: 'Down', none: 'Not set up',
};

// overview answers "is it all right?" first and everything else below.
export function overview(context) {
  const view = build(context.main);
  const charts = history(view.history);
  const update = (o) => show(view, o);
  context.listeners.add(update);
  if (context.overview) update(context.overview);
  return () => {
    context.listeners.delete(update);
    charts();
  };
}

function build(main) {
  const v = {
    sign: svg('svg', { viewBox: '0 0 44 44', 'aria-hidden': 'true' }),
    headline: h('h1', {}, 'Looking…'), detail: h('p', {}),
    inRate: h('span', {}), inDetail: h('p', {}), inMore: h('p', { class: 'hint' }),
    waiting: h('span', {}), waitDetail: h('p', {}), waitMore: h('p', { class: 'hint' }),
    outRate: h('span', {}), outDetail: h('p', {}), outMore: h('p', { class: 'hint' }),
    arrowIn: arrow(), arrowOut: arrow(),
    history: h('section', { class: 'panel', 'aria-labelledby': 'history-title' }),
    storeFacts: h('dl', { class: 'facts' }), meterFill: h('i', {}),
    uplinkFacts: h('dl', { class: 'facts' }),
    classes: h('tbody', {}), losses: h('div', {}), checks: h('tbody', {}),
  };
  v.verdict = h('section', { class: 'verdict level level-none', 'aria-label': 'State of the gateway' }, h('div', { class: 'sign' }, v.sign), h('div', {}, v.headline, v.detail));
  v.meter = h('div', { class: 'meter', role: 'img' }, v.meterFill);
  v.outStop = stop('out', 'Application', v.outRate, 'a second', v.outDetail, v.outMore);
  replace(main,
    v.verdict,
    h('ul', { class: 'flow', 'aria-label': 'The way of a record' },
      stop('in', 'Devices send', v.inRate, 'a second', v.inDetail, v.inMore), v.arrowIn,
      stop('wait', 'Waiting here', v.waiting, 'records', v.waitDetail, v.waitMore), v.arrowOut,
      v.outStop),
    v.history,
    h('div', { class: 'columns' },
      h('section', { class: 'panel', 'aria-labelledby': 'store-title' }, h('h2', { id: 'store-title' }, 'Store'), v.meter, v.storeFacts),
      h('section', { class: 'panel', 'aria-labelledby': 'uplink-title' }, h('h2', { id: 'uplink-title' }, 'Uplink'), v.uplinkFacts)),
    h('section', { class: 'panel' }, h('table', { class: 'cards inline' },
      h('caption', {}, 'Queue by class'),
      h('thead', {}, h('tr', {}, classColumns.map((t, i) => h('th', { scope: 'col', class: i ? 'number' : '' }, t)))),
      v.classes)),
    h('div', { class: 'columns' },
      h('section', { class: 'panel', 'aria-labelledby': 'losses-title' }, h('h2', { id: 'losses-title' }, 'Refused, dropped or kept aside since the start'), v.losses),
      h('section', { class: 'panel' }, h('table', {}, h('caption', {}, 'Checks'), v.checks))));
  return v;
}

function arrow() {
  return h('li', { class: 'dots', 'aria-hidden': 'true' }, h('i', {}, '→'));
}

function stop(kind, title, number, unit, ...rest) {
  return h('li', { class: `stop ${kind}` }, h('h2', {}, title), h('p', { class: 'big' }, number, ' ', h('small', {}, unit)), rest);
}

function show(v, o) {
  const { verdict, backlog, uplink, store, totals } = o;
  v.verdict.className = `verdict level level-${verdict.level}`;
  replace(v.sign, svg('circle', { cx: 22, cy: 22, r: 20, fill: 'none', stroke: 'currentColor', 'stroke-width': 3 }),
    svg('path', { d: signs[verdict.level], fill: 'none', stroke: 'currentColor', 'stroke-width': 4, 'stroke-linecap': 'round', 'stroke-linejoin': 'round' }));
  set(v.headline, verdict.headline);
  set(v.detail, verdict.detail);

  set(v.inRate, rate(o.rates.in));
  set(v.inDetail, `${count(o.clients)} MQTT ${o.clients === 1 ? 'client' : 'clients'} connected`);
  set(v.inMore, `${count(totals.stored)} publications stored since the start`);

  set(v.waiting, count(backlog.records));
  set(v.waitDetail, backlog.records ? `${bytes(backlog.bytes)}, the oldest for ${duration(backlog.oldestSeconds)}` : 'nothing waits');
  set(v.waitMore, room(backlog));

  set(v.outRate, rate(o.rates.out));
  set(v.outDetail, `${states[uplink.state] || uplink.state}${uplink.since ? `, for ${duration((Date.parse(o.now) - Date.parse(uplink.since)) / 1000)}` : ''}`);
  set(v.outMore, uplink.delivers ? `${count(totals.delivered)} records delivered since the start` : uplink.reason || '');
  v.outStop.className = `stop ${uplink.delivers ? 'out' : 'down'}`;
  v.arrowOut.className = `dots ${uplink.delivers ? '' : 'cut'}`;
  set(v.arrowOut.firstChild, uplink.delivers ? '→' : '✕');

  const share = store.limitBytes ? Math.min(1, backlog.bytes / store.limitBytes) : 0;
  v.meterFill.style.width = `${(share * 100).toFixed(1)}%`;
  v.meter.setAttribute('aria-label', `${(share * 100).toFixed(1)} per cent of the store is used`);
  facts(v.storeFacts, [
    ['Used', `${bytes(backlog.bytes)} of ${bytes(store.limitBytes)}`],
    ['Full in', backlog.hoursLeft < 0 ? 'not filling' : duration(backlog.hoursLeft * 3600)],
    ['Empty in', !backlog.records ? 'empty' : backlog.drainSeconds < 0 ? 'not draining' : duration(backlog.drainSeconds)],
    ['Files on disk', bytes(store.diskBytes)],
    ['Free on the disk', bytes(store.freeBytes)],
    ['Written to disk', written(totals)],
    ['Dead letters', `${count(o.deadLetters)} (${bytes(o.deadLetterBytes)})`],
  ]);
  facts(v.uplinkFacts, [
    ['State', states[uplink.state] || uplink.state],
    ['Since', uplink.since ? moment(uplink.since) : '–'],
    ['Why', uplink.reason || '–', 'wide'],
    ['Last success', ago(uplink.lastSuccess, Date.parse(o.now))],
    uplink.delivers ? null : ['Next try', uplink.nextProbe && Date.parse(uplink.nextProbe) > Date.parse(o.now) ? `in ${duration((Date.parse(uplink.nextProbe) - Date.parse(o.now)) / 1000)}` : 'now'],
    ['Mean time of a call', uplink.calls ? `${((uplink.callSeconds / uplink.calls) * 1000).toFixed(1)} ms` : '–'],
    ['Rate limit', uplink.rateLimit ? `${rate(uplink.rateLimit)} calls a second` : 'none'],
    ['Address', uplink.url || '–', 'wide'],
    uplink.pausedKinds?.length ? ['Refused kinds', uplink.pausedKinds.join(', ')] : null,
  ]);
  replace(v.classes, backlog.classes.map((c) => h('tr', {}, h('th', { scope: 'row' }, c.name),
    [count(c.records), bytes(c.bytes), c.records ? duration(c.oldestSeconds) : '–', count(c.stored), count(c.delivered), lost(c.dropped)].map((t, i) => h('td', { class: 'number', 'data-label': classColumns[i + 1] }, t)))));
  losses(v.losses, totals);
  replace(v.checks, o.checks.map((c) => h('tr', {}, h('th', { scope: 'row' }, c.name),
    h('td', {}, h('span', { class: `level level-${c.ok ? 'ok' : c.advisory ? 'note' : 'fault'}` }, c.ok ? 'ok' : c.advisory ? 'note' : 'fault'), ' ', c.message))));
}

function room(b) {
  if (b.records && b.drainSeconds > 0) return `drained in about ${duration(b.drainSeconds)}`;
  if (b.hoursLeft >= 0) return `room for another ${duration(b.hoursLeft * 3600)}`;
  return 'room for much more';
}

function written(t) {
  if (!t.diskBytes) return '–';
  return t.bytes > 65536 ? `${bytes(t.diskBytes)}, ${(t.diskBytes / t.bytes).toFixed(1)} bytes per byte received` : bytes(t.diskBytes);
}

function lost(dropped) {
  const list = Object.entries(dropped || {}).filter(([, n]) => n > 0);
  return list.length ? list.map(([k, n]) => `${count(n)} ${k.replaceAll('_', ' ')}`).join(', ') : '0';
}

function facts(el, list) {
  replace(el, list.filter(Boolean).map(([name, text, kind]) => h('div', { class: kind }, h('dt', {}, name), h('dd', {}, text))));
}

function losses(el, t) {
  const rows = [
    ...Object.entries(t.dropped || {}).map(([k, n]) => [reason(k), n, 'records']),
    ...Object.entries(t.reasons || {}).map(([k, n]) => [reason(k), n, 'publications']),
  ];
  if (t.unmapped) rows.push(['No route maps the topic', t.unmapped, 'publications']);
  if (t.resent) rows.push(['Sent again by the device itself (may come twice)', t.resent, 'publications']);
  const shown = rows.filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  replace(el, shown.length
    ? h('table', {}, h('tbody', {}, shown.map(([text, n, unit]) => h('tr', {}, h('td', {}, text), h('td', { class: 'number' }, `${count(n)} ${unit}`)))))
    : h('p', { class: 'hint' }, 'Nothing: every publication was stored and every record that left the queue was delivered.'));
}

// history draws the two charts and keeps them up to date.
function history(panel) {
  const flow = chart({
    label: 'Records a second, in and out', tick: rate,
    series: [{ label: 'in', colour: 'in', show: (n) => `${rate(n)}/s` }, { label: 'out', colour: 'out', show: (n) => `${rate(n)}/s` }],
  });
  const backlog = chart({
    label: 'Records that wait', tick: compact,
    series: [{ label: 'waiting', colour: 'wait', fill: true, show: (n) => count(n) }],
  });
  let minutes = 60;
  const buttons = [[15, '15 min'], [60, '1 hour'], [360, '6 hours']].map(([m, label]) => h('button', {
    'aria-pressed': String(m === minutes),
    onclick() {
      minutes = m;
      buttons.forEach((b) => b.setAttribute('aria-pressed', String(b === this)));
      load();
    },
  }, label));
  const note = h('p', { class: 'hint' });
  replace(panel,
    h('header', {}, h('h2', { id: 'history-title' }, 'The last hours'), h('div', { class: 'row', role: 'group', 'aria-label': 'Span of time' }, buttons)),
    h('div', { class: 'columns' },
      h('div', {}, h('h3', {}, 'Records a second'), flow.element),
      h('div', {}, h('h3', {}, 'Waiting'), backlog.element)), note);

  async function load() {
    let s;
    try { s = await get(`history?minutes=${minutes}`); } catch { return; }
    const down = [];
    s.time.forEach((t, i) => { if (!s.up[i]) down.push([t - s.stepSeconds, t]); });
    const last = s.time.length - 1;
    flow.update([s.time, s.in, s.out], down, last >= 0 ? `Lately ${rate(s.in[last])} in and ${rate(s.out[last])} out.` : 'No points yet.');
    backlog.update([s.time, s.backlog], down, last >= 0 ? `Lately ${count(s.backlog[last])}, at most ${count(Math.max(...s.backlog))}.` : 'No points yet.');
    set(note, down.length ? 'Shaded: the uplink did not deliver.' : 'The uplink delivered all the time.');
  }
  load();
  const stop = every(5000, load);
  return () => { stop(); flow.close(); backlog.close(); };
}

function compact(n) {
  if (n >= 1e6) return `${n / 1e6} M`;
  return n >= 1e4 ? `${n / 1e3} k` : count(n);
}
