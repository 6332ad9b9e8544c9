import { get, post, call, part } from '../api.js';
import { h, field, level, replace, set, newID } from '../dom.js';
import { ago, clock, moment, pretty, reason, value, bytes } from '../format.js';
import { every, watch } from '../live.js';
import { toast } from '../dialog.js';
import { spark } from '../spark.js';
import { connection, registered } from './devices.js';
import { publication } from './tap.js';

// device is one device's page.
export function device(context, id) {
  const v = {
    state: h('div', { class: 'row' }), facts: h('dl', { class: 'facts' }), values: h('div', { class: 'value-cards' }),
    properties: h('tbody', {}), faults: h('ul', { class: 'plain' }), seen: h('ol', { class: 'tapped' }),
    names: h('datalist', { id: 'command-names' }), problem: h('p', { class: 'problem', role: 'alert' }), approve: h('span', {}),
  };
  const canSet = context.can('properties.write');
  const canCommand = context.can('commands.trigger');
  replace(context.main,
    h('div', { class: 'title' }, h('h1', {}, id), v.state),
    v.problem,
    h('section', { class: 'panel', 'aria-label': 'About the device' }, v.facts, v.approve),
    h('section', { class: 'panel', 'aria-labelledby': 'values-title' }, h('h2', { id: 'values-title' }, 'Last values'), v.values),
    h('div', { class: 'columns' },
      h('section', { class: 'panel', 'aria-labelledby': 'properties-title' }, h('h2', { id: 'properties-title' }, 'Properties'),
        h('table', { class: 'cards' }, h('caption', { class: 'visually-hidden' }, 'Properties'),
          h('thead', {}, h('tr', {}, ['Name', 'Reported', 'Desired'].map((t) => h('th', { scope: 'col' }, t)))), v.properties),
        canSet ? propertyForm(id, load) : h('p', { class: 'hint' }, 'Setting a property needs the role operator.')),
      h('section', { class: 'panel', 'aria-labelledby': 'commands-title' }, h('h2', { id: 'commands-title' }, 'Commands'), v.names,
        canCommand ? commandForm(id) : h('p', { class: 'hint' }, 'Triggering a command needs the role operator.'))),
    h('section', { class: 'panel', 'aria-labelledby': 'faults-title' }, h('h2', { id: 'faults-title' }, 'What went wrong lately'), v.faults),
    h('section', { class: 'panel', 'aria-labelledby': 'seen-title' }, h('h2', { id: 'seen-title' }, 'Latest publications'), v.seen));

  async function load() {
    let d;
    try { d = await get(`devices/${part(id)}`); } catch (e) { set(v.problem, e.message); return; }
    set(v.problem, '');
    show(context, v, d, load);
  }
  load();
  const stop = every(4000, load);
  let live = false;
  const unwatch = watch(`tap?device=${part(id)}`, { events: { publications({ events }) {
    if (!live) { v.seen.replaceChildren(); live = true; }
    v.seen.prepend(...events.slice(-20).reverse().map((e) => publication(e)));
    while (v.seen.children.length > 20) v.seen.lastElementChild.remove();
    v.live = true;
  } } });
  return () => { stop(); unwatch(); };
}

function show(context, v, d, load) {
  replace(v.state, connection(d), registered(d));
  replace(v.facts, [
    ['Last seen', d.lastSeen ? `${ago(d.lastSeen)} (${moment(d.lastSeen)})` : 'never'],
    ['MQTT client', d.client || '–'],
    ['Template', d.template || 'none'],
    ['Errors since the start', String(d.errors)],
  ].map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))));
  const needs = ['pending', 'refused', 'deleted'].includes(d.state) && context.can('devices.write');
  if (needs && !v.approve.firstChild) {
    v.approve.append(h('button', { class: 'primary', async onclick() {
      try { await post(`devices/${part(d.id)}/approve`); toast(`${d.id} is approved and will be created with its next record.`); } catch (e) { toast(e.message); }
      load();
    } }, 'Approve this device'));
  } else if (!needs) v.approve.replaceChildren();
  replace(v.values, d.values.length ? d.values.map((x) => h('div', { class: 'value' },
    h('div', { class: 'name' }, x.name, x.kind === 'property' ? ' (property)' : ''), h('div', { class: 'last' }, value(x.last)),
    x.spark?.length > 2 ? spark(x.spark) : null, h('div', { class: 'hint' }, ago(x.time)))) : h('p', { class: 'hint' }, 'None since the gateway was started.'));
  replace(v.properties, d.properties.length ? d.properties.map((p) => h('tr', {},
    h('th', { scope: 'row' }, p.name), h('td', { 'data-label': 'Reported' }, p.reported === undefined ? '–' : value(p.reported)),
    h('td', { 'data-label': 'Desired' }, desired(p)))) : h('tr', {}, h('td', { colspan: 3, class: 'hint' }, 'None are known.')));
  replace(v.faults, d.faults.length ? d.faults.map((f) => h('li', { class: 'call' },
    h('span', {}, level('warn', f.where === 'uplink' ? 'refused by the application' : 'not usable'), ' ', h('time', { class: 'hint', datetime: f.time }, moment(f.time))),
    h('strong', {}, reason(f.reason)), h('span', {}, f.message))) : h('li', { class: 'hint' }, 'Nothing.'));
  replace(v.names, d.commands.map((c) => h('option', { value: c })));
  if (!v.live) {
    replace(v.seen, d.publications.length ? d.publications.map((p) => h('li', {},
      h('div', { class: 'line' }, h('time', { class: 'hint', datetime: p.time }, clock(p.time)), h('span', { class: 'topic mono' }, p.topic),
        h('span', { class: 'hint' }, `${bytes(p.bytes)}, became ${p.records} ${p.records === 1 ? 'record' : 'records'}`)),
      h('pre', {}, p.payload))) : h('li', { class: 'hint' }, 'None since the gateway was started.'));
  }
}

function desired(p) {
  if (p.desired === undefined) return p.writable ? 'not set' : 'the device’s own';
  return [value(p.desired), ' ', p.acknowledged ? level('ok', 'taken over') : p.pending ? level('note', 'on its way') : level('note', 'told')];
}

// json reads what a person typed: JSON, or a bare word as text.
function json(text) {
  try { return JSON.parse(text); } catch { return text; }
}

function propertyForm(id, load) {
  const name = h('input', { required: true, autocomplete: 'off', spellcheck: 'false' });
  const text = h('input', { required: true, autocomplete: 'off', spellcheck: 'false' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  return h('form', { class: 'fields', async onsubmit(e) {
    e.preventDefault();
    set(problem, '');
    try {
      await call('PUT', `devices/${part(id)}/properties/${part(name.value)}`, { value: json(text.value) });
      toast(`${name.value} is set; the device is told as soon as it is there.`);
      text.value = '';
      load();
    } catch (error) { set(problem, error.message); }
  } }, field('Property', name), field('Desired value', text, 'JSON, or plain text'), h('div', { class: 'act row' }, h('button', { class: 'primary', type: 'submit' }, 'Set'), problem));
}

function commandForm(id) {
  const name = h('input', { required: true, list: 'command-names', autocomplete: 'off', spellcheck: 'false' });
  const args = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const list = h('ul', { class: 'plain', id: newID('followed'), 'aria-live': 'polite' });
  return h('div', {}, h('form', { class: 'fields', async onsubmit(e) {
    e.preventDefault();
    set(problem, '');
    try {
      const started = await post(`devices/${part(id)}/commands/${part(name.value)}`, { arguments: args.value.trim() ? json(args.value) : null });
      list.prepend(follow(id, name.value, started));
    } catch (error) { set(problem, error.message); }
  } }, field('Command', name), field('Arguments', args, 'a JSON object, or nothing'), h('div', { class: 'act row' }, h('button', { class: 'primary', type: 'submit' }, 'Trigger'), problem)), list);
}

// follow shows a command until its status will not change any more.
function follow(id, name, started) {
  const status = h('span', {});
  const result = h('pre', { hidden: true });
  const item = h('li', { class: 'call' }, h('span', {}, h('strong', {}, name), ' ', status), result);
  function draw(c) {
    replace(status, level(c.status === 'Completed' ? 'ok' : c.status === 'Failed' ? 'fault' : c.final ? 'warn' : 'note', c.status));
    result.hidden = c.result === undefined || c.result === null;
    if (!result.hidden) set(result, pretty(JSON.stringify(c.result)));
  }
  draw(started);
  if (!started.final) {
    const stop = every(1000, async () => {
      if (!item.isConnected) { stop(); return; }
      try {
        const c = await get(`devices/${part(id)}/commands/${part(started.id)}`);
        draw(c);
        if (c.final) stop();
      } catch (e) { set(status, e.message); stop(); }
    });
  }
  return item;
}
