import { get, post, part } from '../api.js';
import { h, level, replace, set } from '../dom.js';
import { ago, bytes, count, moment, pretty, reason } from '../format.js';
import { confirm, toast } from '../dialog.js';
import { calls } from './playground.js';

// deadLetters groups what could not be used by its reason; one reason has a
// page of its own.
export function deadLetters(context, chosen) {
  if (chosen) one(context, chosen);
  else groups(context);
}

async function act(verb, choice, what) {
  if (verb === 'drop' && !await confirm({ title: `Drop ${what}?`, text: 'They are removed for good: the application will never get them.', action: 'Drop' })) return false;
  try {
    const r = await post(`dead-letters/${verb}`, choice);
    if (verb === 'drop') toast(`${count(r.dropped)} dropped.`);
    else if (!r.failed) toast(`${count(r.retried)} put back into the queue.`);
    else toast(`${count(r.retried)} put back, ${count(r.failed)} stay: ${r.failures[0].error}`);
    // What has not changed stays open as it is.
    return verb === 'drop' || r.retried > 0;
  } catch (e) {
    toast(e.message);
    return false;
  }
}

function groups(context) {
  const may = context.can('gateway.operate');
  const list = h('div', { class: 'columns' });
  const note = h('p', { class: 'hint', role: 'status' });
  replace(context.main, h('div', { class: 'title' }, h('h1', {}, 'Dead letters'), note),
    h('p', { class: 'hint' }, 'Messages that could not be used, kept with the reason. Mend the cause (the mapping, the template, a user’s rights), then retry: publications are mapped again under the present mapping.'), list);

  async function load() {
    let r;
    try { r = await get('dead-letters'); } catch (e) { set(note, e.message); return; }
    const total = r.groups.reduce((n, g) => n + g.count, 0);
    set(note, total ? `${count(total)}${r.complete ? '' : '+'} kept` : '');
    replace(list, r.groups.length ? r.groups.map((g) => card(g, may, load)) : h('section', { class: 'panel empty-state' }, h('p', {}, 'There are none. Every message could be used.')));
  }
  load();
}

function card(g, may, load) {
  const what = `all ${count(g.count)} of “${reason(g.reason)}”`;
  return h('section', { class: 'panel', 'aria-label': reason(g.reason) },
    h('header', {}, h('h2', {}, reason(g.reason)), level('note', count(g.count))),
    h('p', {}, h('code', {}, g.reason), ` · ${bytes(g.bytes)}${g.devices ? ` · ${count(g.devices)} ${g.devices === 1 ? 'device' : 'devices'}` : ''} · the last ${ago(g.last)}`),
    h('p', { class: 'hint' }, `The newest says: ${g.message}`),
    h('div', { class: 'row' },
      h('a', { class: 'button', href: `#/dead-letters/${part(g.reason)}`, 'aria-label': `Show ${reason(g.reason)}` }, 'Show'),
      may ? h('button', { async onclick() { if (await act('retry', { reason: g.reason }, what)) load(); } }, 'Retry all') : null,
      may ? h('button', { class: 'danger', async onclick() { if (await act('drop', { reason: g.reason }, what)) load(); } }, 'Drop all') : null));
}

function one(context, why) {
  const may = context.can('gateway.operate');
  const list = h('div', {});
  const note = h('p', { class: 'hint', role: 'status' });
  const pages = h('div', { class: 'row' });
  let page = 0;
  replace(context.main, h('p', {}, h('a', { href: '#/dead-letters' }, '← All reasons')),
    h('div', { class: 'title' }, h('h1', {}, reason(why)), note),
    h('section', { class: 'panel', 'aria-label': 'Dead letters of this reason' }, list, pages));

  async function load() {
    let r;
    try { r = await get(`dead-letters?reason=${part(why)}&page=${page}`); } catch (e) { set(note, e.message); return; }
    set(note, `${count(r.count)} kept, newest first`);
    replace(list, r.letters.length ? r.letters.map((l) => letter(l, may, load)) : h('p', { class: 'empty-state' }, 'There are none of these any more.'));
    replace(pages,
      page > 0 ? h('button', { onclick() { page--; load(); } }, 'Newer') : null,
      r.more ? h('button', { onclick() { page++; load(); } }, 'Older') : null);
  }
  load();
}

function letter(l, may, load) {
  const inside = h('div', { class: 'inside' }, h('p', { class: 'hint' }, 'Loading…'));
  let loaded = false;
  const details = h('details', { class: 'letter', async ontoggle() {
    if (!details.open || loaded) return;
    loaded = true;
    try { replace(inside, detail(await get(`dead-letters/${l.id}`), may, load)); } catch (e) { replace(inside, h('p', { class: 'problem' }, e.message)); }
  } },
  h('summary', {}, h('time', { class: 'hint', datetime: l.time, title: moment(l.time) }, ago(l.time)),
    h('span', { class: 'topic mono' }, l.topic || `${l.kind} ${l.device}${l.name ? ` ${l.name}` : ''}`),
    h('span', { class: 'hint' }, l.message)), inside);
  return details;
}

function detail(l, may, load) {
  const facts = [
    ['Device', l.device], ['From', l.client ? `${l.client}${l.user ? ` (user ${l.user})` : ''}` : ''], ['When', moment(l.time)],
    ['Answer of the application', l.answer ? `${l.status} ${l.answer}` : ''], ['Attempts', l.attempts || ''],
  ].filter(([, text]) => text);
  return [
    h('p', {}, l.message),
    h('dl', { class: 'facts' }, facts.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, String(text))))),
    h('div', { class: 'pair' },
      h('div', {}, h('h2', {}, l.topic ? 'As the device sent it' : 'As it was stored'), l.topic ? h('code', {}, l.topic) : null, h('pre', { tabindex: '0' }, l.binary ? l.payload : pretty(l.payload)), l.binary ? h('p', { class: 'hint' }, 'base64') : null),
      h('div', {}, h('h2', {}, 'What a retry would make of it now'), calls(l.mapped))),
    h('div', { class: 'row' },
      may ? h('button', { class: 'primary', async onclick() { if (await act('retry', { ids: [l.id] }, 'this one')) load(); } }, 'Retry') : null,
      may ? h('button', { class: 'danger', async onclick() { if (await act('drop', { ids: [l.id] }, 'this one')) load(); } }, 'Drop') : null,
      l.topic ? h('a', { class: 'button', href: `#/try?topic=${part(l.topic)}&payload=${part(l.payload)}${l.binary ? '&binary=1' : ''}` }, 'Open in the playground') : null),
  ];
}
