import { post } from '../api.js';
import { h, field, level, replace, set } from '../dom.js';
import { pretty } from '../format.js';

// calls shows what a publication becomes: a line of the command map.
export function calls(trial) {
  if (!trial) return null;
  if (trial.error) {
    return h('div', {}, h('p', { class: 'problem' }, `${trial.error.code}: ${trial.error.message}`),
      trial.error.hint ? h('p', { class: 'hint' }, trial.error.hint) : null);
  }
  if (!trial.requests.length) return h('p', { class: 'hint' }, 'It becomes no call.');
  return trial.requests.map((r) => h('div', { class: 'call' },
    h('span', { class: 'mono' }, h('span', { class: 'method' }, r.method), ` ${r.path}`),
    r.body === undefined || r.body === null ? null : h('pre', { tabindex: '0' }, pretty(JSON.stringify(r.body)))));
}

// playground maps a publication under the running configuration.
export function playground(context) {
  const given = new URLSearchParams(location.hash.split('?')[1] || '');
  const topic = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', value: given.get('topic') || 'devices/my-sensor/telemetry' });
  const payload = h('textarea', { spellcheck: 'false', rows: 8, value: given.get('payload') ?? '{"temperature": 21.5}' });
  const binary = h('input', { type: 'checkbox', id: 'try-binary', checked: given.has('binary') });
  const retain = h('input', { type: 'checkbox', id: 'try-retain' });
  const client = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const user = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const result = h('div', { class: 'fields', 'aria-live': 'polite' });
  const problem = h('p', { class: 'problem', role: 'alert' });

  async function run(e) {
    e?.preventDefault();
    set(problem, '');
    let r;
    try {
      r = await post('try', { topic: topic.value, payload: payload.value, binary: binary.checked, retain: retain.checked, qos: 1, client: client.value, user: user.value });
    } catch (error) { set(problem, error.message); return; }
    const { trial } = r;
    replace(result, h('div', { class: 'pair' },
      h('div', {}, h('h2', {}, 'Read as'), r.decoded === null || r.decoded === undefined ? h('p', { class: 'hint' }, 'it cannot be told') : h('pre', { tabindex: '0' }, pretty(JSON.stringify(r.decoded))),
        trial.route ? h('p', { class: 'hint' }, `by ${trial.route}`) : null),
      h('div', {}, h('h2', {}, 'Becomes'), trial.error ? level('fault', trial.error.code === 'unmapped' ? 'not mapped' : 'dead letter') : level('ok', `${trial.requests.length} ${trial.requests.length === 1 ? 'call' : 'calls'}`),
        calls(trial), r.detail ? h('p', {}, r.detail) : null)));
  }

  replace(context.main, h('h1', {}, 'Mapping playground'),
    h('p', { class: 'hint' }, 'What would a publication become under the running configuration? Nothing is stored or sent.'),
    h('div', { class: 'columns' },
      h('section', { class: 'panel', 'aria-label': 'Publication' }, h('form', { class: 'fields', onsubmit: run },
        field('Topic', topic), field('Client id', client), field('User', user),
        h('div', { class: 'act row' }, binary, h('label', { for: 'try-binary' }, 'payload is base64'), retain, h('label', { for: 'try-retain' }, 'retained')),
        h('div', { class: 'act' }, field('Payload', payload)),
        h('div', { class: 'act row' }, h('button', { class: 'primary', type: 'submit' }, 'Try it'), problem))),
      h('section', { class: 'panel', 'aria-label': 'Result' }, result)));
  run();
}
