import { get, post } from './api.js';
import { h, replace, set } from './dom.js';
import { watch } from './live.js';
import { count, synchronise } from './format.js';
import { login } from './views/login.js';
import { overview } from './views/overview.js';
import { devices } from './views/devices.js';
import { device } from './views/device.js';
import { deadLetters } from './views/deadletters.js';
import { tap } from './views/tap.js';
import { playground } from './views/playground.js';
import { access } from './views/access.js';

const app = document.getElementById('app');

// The views by the first part of what stands behind the # of the address.
const views = {
  '': { title: 'Overview', open: overview },
  devices: { title: 'Devices', open: (c, id) => (id ? device(c, id) : devices(c)) },
  'dead-letters': { title: 'Dead letters', open: deadLetters },
  live: { title: 'Live', open: tap },
  try: { title: 'Playground', open: playground },
  access: { title: 'Access', open: access },
};

let close = () => {};

async function start() {
  close();
  let session;
  try {
    session = await get('session');
  } catch (e) {
    replace(app, h('main', { id: 'main', tabindex: '-1' }, h('section', { class: 'panel' }, h('h1', {}, 'No connection'), h('p', {}, e.message),
      h('div', {}, h('button', { onclick: start }, 'Try again')))));
    return;
  }
  if (session.loggedIn) frame(session);
  else {
    close = () => {};
    document.title = 'Log in – iotc-gateway';
    replace(app, login(session.command, start));
    app.querySelector('input')?.focus();
  }
}

function frame(session) {
  const can = (permission) => session.may.includes(permission);
  const context = { session, can, overview: null, listeners: new Set() };
  const pill = h('a', { class: 'level level-none', href: '#/' }, 'Connecting…');
  const spoken = h('p', { class: 'visually-hidden', role: 'status', 'aria-live': 'polite' });
  const badge = h('span', { class: 'badge', hidden: true });
  const links = Object.entries(views).map(([path, v]) => h('a', { href: `#/${path}` }, v.title, path === 'dead-letters' ? badge : null));
  const main = h('main', { id: 'main', tabindex: '-1' });
  const theme = themeButton();
  replace(app,
    h('header', { class: 'head' }, h('div', { class: 'head-in' },
      h('a', { class: 'brand', href: '#/' }, h('img', { src: 'icon.svg', alt: '' }), h('span', {}, session.gateway.id, h('small', {}, 'iotc-gateway'))),
      pill,
      h('div', { class: 'who' }, theme, h('button', { class: 'quiet', onclick: logout, title: `${session.name}, ${session.role}` }, 'Log out')),
      h('nav', { class: 'nav', 'aria-label': 'Views' }, links))),
    main, spoken,
    h('footer', { class: 'foot' }, `iotc-gateway ${session.gateway.version} · logged in as ${session.name} (${session.role})`));

  let closeView = () => {};
  let current = '';
  let lost = false;
  function route(first) {
    const [path, ...rest] = location.hash.replace(/^#\/?/, '').split('?')[0].split('/');
    const view = views[path] || views[''];
    closeView();
    main.replaceChildren();
    links.forEach((a) => {
      if (a.getAttribute('href') === `#/${views[path] ? path : ''}`) a.setAttribute('aria-current', 'page');
      else a.removeAttribute('aria-current');
    });
    document.title = `${view.title} – ${session.gateway.id}`;
    context.main = main;
    current = views[path] ? path : '';
    pill.hidden = !lost && current === '';
    closeView = view.open(context, rest.map(decodeURIComponent).join('/')) || (() => {});
    if (!first) {
      window.scrollTo(0, 0);
      const heading = main.querySelector('h1');
      heading?.setAttribute('tabindex', '-1');
      (heading || main).focus({ preventScroll: true });
    }
  }

  let headline = '';
  function judged(o) {
    context.overview = o;
    synchronise(o.now);
    lost = false;
    pill.hidden = current === ''; // the page itself says it there
    pill.className = `level level-${o.verdict.level}`;
    set(pill, o.verdict.headline.replace(/\.$/, ''));
    if (o.verdict.headline !== headline) set(spoken, headline = o.verdict.headline);
    badge.hidden = !o.deadLetters;
    set(badge, count(o.deadLetters));
    badge.setAttribute('aria-label', `${count(o.deadLetters)} dead letters`);
    context.listeners.forEach((fn) => fn(o));
  }

  const unwatch = watch('events', {
    events: { overview: judged },
    connected(yes) {
      if (yes) return;
      lost = true;
      pill.hidden = false;
      pill.className = 'level level-fault';
      set(pill, 'No connection to the gateway');
    },
  });
  const onHash = () => route(false);
  window.addEventListener('hashchange', onHash);
  close = () => {
    closeView();
    unwatch();
    window.removeEventListener('hashchange', onHash);
  };
  route(true);
}

function themeButton() {
  const names = { auto: 'Theme: auto', light: 'Theme: light', dark: 'Theme: dark' };
  const next = { auto: 'light', light: 'dark', dark: 'auto' };
  const button = h('button', { class: 'quiet', onclick() {
    window.iotcTheme.set(next[window.iotcTheme.current()]);
    set(button, names[window.iotcTheme.current()]);
  } }, names[window.iotcTheme.current()]);
  return button;
}

async function logout() {
  try { await post('logout'); } catch { /* the session is over all the same */ }
  start();
}

window.addEventListener('loggedout', start);
start();
