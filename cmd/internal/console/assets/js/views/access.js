import { get, post, call, part } from '../api.js';
import { h, field, level, replace, set } from '../dom.js';
import { ago, moment } from '../format.js';
import { confirm, show, toast } from '../dialog.js';

const roles = ['reader', 'operator', 'device-admin', 'gateway', 'admin'];

// access shows who can reach the gateway: tokens, sessions, MQTT connections,
// and what people did.
export function access(context) {
  const admin = context.can('gateway.manage');
  const sections = [];
  const loads = [];
  const add = (section) => { sections.push(section.element); loads.push(section.load); };
  if (admin) add(tokens());
  add(sessions(admin));
  if (!context.session.devices?.length) add(connections(context.can('gateway.operate')));
  if (admin) add(auditLog());
  replace(context.main, h('h1', {}, 'Access'), admin ? null : h('p', { class: 'hint' }, 'Tokens and the audit log are shown to the role admin.'), sections);
  loads.forEach((load) => load());
}

// table is a panel with rows that are loaded.
function table(title, columns, fetchRows, extra) {
  const body = h('tbody', {});
  const problem = h('p', { class: 'problem', role: 'alert' });
  const element = h('section', { class: 'panel' }, extra || null, problem, h('table', { class: 'cards' }, h('caption', {}, title),
    h('thead', {}, h('tr', {}, columns.map((c) => h('th', { scope: 'col' }, c || h('span', { class: 'visually-hidden' }, 'Actions'))))), body));
  async function load() {
    try {
      const rows = await fetchRows();
      replace(body, rows.length ? rows.map((cells) => h('tr', {}, cells.map((c, i) => (i ? h('td', { 'data-label': columns[i] || null }, c) : h('th', { scope: 'row' }, c)))))
        : h('tr', {}, h('td', { colspan: columns.length, class: 'hint' }, 'None.')));
      set(problem, '');
    } catch (e) { set(problem, e.message); }
  }
  return { element, load };
}

function ask(what, text, action, run, load) {
  return h('button', { class: 'danger', async onclick() {
    if (!await confirm({ title: what, text, action })) return;
    try { await run(); toast('Done.'); } catch (e) { toast(e.message); }
    load();
  } }, action);
}

function tokens() {
  const name = h('input', { autocomplete: 'off', maxlength: 128 });
  const role = h('select', {}, roles.map((r) => h('option', { value: r }, r)));
  const devices = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const expires = h('input', { autocomplete: 'off', spellcheck: 'false', placeholder: 'never' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const form = h('form', { class: 'fields', async onsubmit(e) {
    e.preventDefault();
    set(problem, '');
    try {
      const list = devices.value.split(',').map((d) => d.trim()).filter(Boolean);
      const r = await post('tokens', { name: name.value, role: role.value, devices: list.length ? list : null, expires: expires.value.trim() });
      show('The new token', h('p', {}, 'Copy it now: it is not shown again.'), h('pre', { tabindex: '0', class: 'secret' }, r.secret));
      name.value = '';
      t.load();
    } catch (error) { set(problem, error.message); }
  } }, field('Name', name, 'who or what it is for'), field('Role', role), field('Devices', devices, 'patterns such as hall-3-*, separated by commas; empty is all'),
  field('Expires in', expires, 'such as 90d or 12h'), h('div', { class: 'act row' }, h('button', { class: 'primary', type: 'submit' }, 'Create a token'), problem));
  const t = table('Tokens', ['Name', 'Role', 'Devices', 'Made', 'Expires', ''], async () => (await get('tokens')).tokens.map((x) => [
    `${x.name || 'no name'} (${x.id})`, x.role, x.devices?.join(', ') || 'all', moment(x.created), x.expires ? moment(x.expires) : 'never',
    ask(`Revoke the token ${x.name || x.id}?`, 'Whoever uses it is refused from the next call on, and its sessions end.', 'Revoke', () => call('DELETE', `tokens/${part(x.id)}`), () => t.load()),
  ]), h('details', {}, h('summary', {}, 'Make a new token'), form));
  return t;
}

function sessions(admin) {
  const t = table('Logged in to this page', ['Who', 'From', 'Browser', 'Since', 'Last seen', ''], async () => (await get('sessions')).sessions.map((s) => [
    h('span', {}, `${s.name} (${s.role}) `, s.current ? level('ok', 'this is you') : null), s.remote, s.browser, moment(s.created), ago(s.lastSeen),
    admin && !s.current ? ask(`End the session of ${s.name}?`, 'The browser is sent back to the login.', 'End', () => post(`sessions/${part(s.id)}/end`), () => t.load()) : '',
  ]));
  return t;
}

function connections(may) {
  const t = table('MQTT connections', ['Client', 'User', 'From', 'Protocol', 'Since', 'In flight', ''], async () => (await get('connections')).connections.slice(0, 200).map((c) => [
    c.client, c.user || 'anonymous', `${c.remote} (${c.listener})`, `${c.protocol}${c.tls ? ', TLS' : ', in the clear'}`, moment(c.connected), String(c.inFlight),
    may ? ask(`Disconnect ${c.client}?`, 'The client may connect again at once.', 'Disconnect', () => post('connections/disconnect', { client: c.client }), () => t.load()) : '',
  ]));
  return t;
}

function auditLog() {
  return table('What people did (the log has it all)', ['When', 'Who', 'Action', 'Target', 'Result'], async () => (await get('audit')).entries.slice(0, 100).map((e) => [
    moment(e.time), `${e.name || 'unknown'}${e.role ? ` (${e.role})` : ''} from ${e.remote}`, e.action, e.target, e.ok ? level('ok', 'done') : h('span', {}, level('warn', 'refused'), ' ', e.detail),
  ]));
}
