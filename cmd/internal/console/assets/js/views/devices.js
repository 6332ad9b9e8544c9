import { get, part } from '../api.js';
import { h, level, replace, set } from '../dom.js';
import { ago, count, moment, value } from '../format.js';
import { every } from '../live.js';
import { spark } from '../spark.js';

const page = 100;

export function connection(d) {
  if (d.connection === 'connected') return level('ok', 'connected');
  if (d.connection === 'offline') return level('note', 'offline');
  return level('none', 'not seen');
}

// registered says what the application knows of a device.
export function registered(d) {
  if (d.disabledHere) return level('note', 'disabled at the gateway');
  if (d.disabled) return level('note', 'disabled in the application');
  switch (d.state) {
    case 'registered': return level('ok', 'registered');
    case 'pending': return level('note', 'waits for approval');
    case 'approved': return level('ok', 'approved');
    case 'refused': return level('warn', 'refused');
    case 'deleted': return level('warn', 'deleted in the application');
    default: return level('none', 'not registered yet');
  }
}

export function devices(context) {
  let list = [];
  let most = page;
  const rows = new Map();
  const search = h('input', { type: 'search', oninput: () => { most = page; draw(); } });
  const only = h('select', { onchange: () => { most = page; draw(); } },
    h('option', { value: '' }, 'all'), h('option', { value: 'connected' }, 'connected'), h('option', { value: 'offline' }, 'offline'),
    h('option', { value: 'errors' }, 'with errors'), h('option', { value: 'pending' }, 'waiting for approval'));
  const body = h('tbody', {});
  const summary = h('p', { class: 'hint', role: 'status' });
  const more = h('button', { hidden: true, onclick: () => { most += page; draw(); } }, 'Show more');
  const problem = h('p', { class: 'problem', role: 'alert' });
  replace(context.main,
    h('div', { class: 'title' }, h('h1', {}, 'Devices'), summary),
    h('section', { class: 'panel', 'aria-label': 'List of devices' },
      h('div', { class: 'fields' },
        h('div', {}, h('label', { for: 'device-search' }, 'Search'), search),
        h('div', {}, h('label', { for: 'device-only' }, 'Show'), only)),
      problem,
      h('table', { class: 'cards' },
        h('caption', { class: 'visually-hidden' }, 'Devices with their connection and last values'),
        h('thead', {}, h('tr', {}, ['Device', 'Connection', 'Last values', 'Template', 'Errors'].map((t) => h('th', { scope: 'col' }, t)))), body),
      h('div', {}, more)));
  search.id = 'device-search';
  only.id = 'device-only';

  function wanted(d) {
    const text = search.value.trim().toLowerCase();
    if (text && !d.id.toLowerCase().includes(text) && !(d.template || '').toLowerCase().includes(text)) return false;
    switch (only.value) {
      case 'errors': return d.errors > 0;
      case 'pending': return d.state === 'pending';
      case '': return true;
      default: return d.connection === only.value;
    }
  }

  function draw() {
    const chosen = list.filter(wanted);
    const shown = chosen.slice(0, most);
    const connected = list.filter((d) => d.connection === 'connected').length;
    set(summary, `${count(list.length)} known, ${count(connected)} connected${chosen.length === list.length ? '' : `, ${count(chosen.length)} chosen`}`);
    const keep = shown.map((d) => {
      const row = rows.get(d.id) || newRow(d.id);
      rows.set(d.id, row);
      row.update(d);
      return row.element;
    });
    if (!keep.length) {
      replace(body, h('tr', {}, h('td', { colspan: 5, class: 'empty-state' }, list.length ? 'No device is like that.' : 'No device has sent anything yet. Point one at the gateway’s MQTT broker.')));
    } else if (keep.length !== body.children.length || keep.some((el, i) => body.children[i] !== el)) {
      // The rows stay where they are while the order does, and with them the focus.
      body.replaceChildren(...keep);
    }
    more.hidden = chosen.length <= most;
  }

  async function load() {
    try {
      ({ devices: list } = await get('devices'));
      set(problem, '');
    } catch (e) { set(problem, e.message); return; }
    draw();
  }
  load();
  return every(4000, load);
}

function newRow(id) {
  const cells = ['Connection', 'Last values', 'Template', 'Errors'].map((label) => h('td', { 'data-label': label }));
  const element = h('tr', {}, h('th', { scope: 'row' }, h('a', { class: 'device-name', href: `#/devices/${part(id)}` }, id)), cells);
  return {
    element,
    update(d) {
      const seen = h('time', { class: 'hint', datetime: d.lastSeen || '', title: d.lastSeen ? moment(d.lastSeen) : '' }, ` ${ago(d.lastSeen)}`);
      replace(cells[0], connection(d), d.lastSeen ? seen : null, d.state === 'registered' ? null : h('div', {}, registered(d)));
      replace(cells[1], h('div', { class: 'values' }, d.values.slice(0, 4).map((v) => h('div', { class: 'value' },
        h('span', { class: 'name' }, v.name), h('span', { class: 'last' }, value(v.last)), v.spark?.length > 2 ? spark(v.spark) : null)),
      d.values.length > 4 ? h('span', { class: 'hint' }, `and ${d.values.length - 4} more`) : null));
      replace(cells[2], d.template ? h('code', {}, d.template) : h('span', { class: 'hint' }, 'none'));
      replace(cells[3], d.errors ? [level('warn', count(d.errors)), h('div', { class: 'hint' }, d.lastError?.message || '')] : h('span', { class: 'hint' }, 'none'));
    },
  };
}
