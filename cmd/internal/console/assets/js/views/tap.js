import { part } from '../api.js';
import { h, field, level, replace, set } from '../dom.js';
import { bytes, clock, count } from '../format.js';
import { watch } from '../live.js';

const most = 100;

const outcomes = {
  stored: ['ok', 'stored'], dead_letter: ['fault', 'dead letter'], unmapped: ['note', 'not mapped'],
  refused: ['fault', 'refused'], nothing: ['none', 'nothing to tell'],
};

// publication shows one publication with what it became.
export function publication(e) {
  const [kind, word] = outcomes[e.outcome] || ['none', e.outcome];
  return h('li', { class: e.outcome },
    h('div', { class: 'line' },
      h('time', { class: 'hint', datetime: e.time }, clock(e.time)),
      h('span', { class: 'topic mono' }, e.topic),
      level(kind, word),
      h('span', { class: 'hint' }, `${e.client || 'no client id'}, QoS ${e.qos}${e.retain ? ', retained' : ''}, ${bytes(e.bytes)}${e.route ? `, by ${e.route}` : ''}`),
      h('a', { href: `#/try?topic=${part(e.topic)}&payload=${part(e.payload)}${e.binary ? '&binary=1' : ''}` }, 'try')),
    e.payload ? h('pre', {}, e.payload) : null,
    e.detail ? h('p', {}, e.detail) : null,
    (e.calls || []).map((c) => h('div', { class: 'call' }, h('span', { class: 'mono' }, h('span', { class: 'method' }, c.method), ` ${c.path}`), c.body ? h('pre', {}, c.body) : null)),
    e.more ? h('p', { class: 'hint' }, `and ${count(e.more)} more calls`) : null);
}

// tap shows what is published while it is looked at. A flood is thinned out by
// the gateway, and said so.
export function tap(context) {
  const filter = h('input', { placeholder: 'devices/+/telemetry', autocomplete: 'off', spellcheck: 'false' });
  const list = h('ol', { class: 'tapped' });
  const status = h('p', { class: 'hint', role: 'status' });
  let paused = false;
  let total = 0;
  let stop = () => {};
  const pause = h('button', { 'aria-pressed': 'false', type: 'button', onclick() {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    begin();
  } }, 'Pause');
  replace(context.main, h('h1', {}, 'Live'),
    h('section', { class: 'panel', 'aria-label': 'What is watched' },
      h('form', { class: 'fields', onsubmit(e) { e.preventDefault(); list.replaceChildren(); total = 0; begin(); } },
        field('Topic filter', filter, 'as in MQTT: + is one level, # all the rest; empty is everything'),
        h('div', { class: 'act row' }, h('button', { class: 'primary', type: 'submit' }, 'Watch'), pause)), status),
    h('section', { class: 'panel', 'aria-label': 'Publications, newest first' }, list));

  function say(dropped) {
    const left = dropped ? `; ${count(dropped)} were left out because they came too fast` : '';
    set(status, paused ? 'Paused. Nothing is fetched.' : `Watching. ${count(total)} seen${left}.`);
  }

  function begin() {
    stop();
    stop = () => {};
    say(0);
    if (paused) return;
    stop = watch(`tap?topic=${part(filter.value.trim())}`, { events: { publications({ events, dropped }) {
      total += events.length;
      list.prepend(...events.slice(-most).reverse().map(publication));
      while (list.children.length > most) list.lastElementChild.remove();
      say(dropped);
    } } });
  }
  begin();
  return () => stop();
}
