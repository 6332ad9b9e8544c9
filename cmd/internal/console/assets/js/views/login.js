import { post } from '../api.js';
import { h, field, set } from '../dom.js';

export function login(command, done) {
  const token = h('input', { type: 'password', name: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const button = h('button', { class: 'primary', type: 'submit' }, 'Log in');
  async function submit(e) {
    e.preventDefault();
    button.disabled = true;
    set(problem, '');
    try {
      await post('login', { token: token.value });
      done();
    } catch (error) {
      set(problem, error.message);
      button.disabled = false;
      token.focus();
    }
  }
  return h('main', { class: 'login', id: 'main' },
    h('form', { class: 'panel', onsubmit: submit },
      h('h1', { class: 'brand' }, h('img', { src: 'icon.svg', alt: '' }), 'iotc-gateway'),
      field('Token', token),
      problem,
      button,
      h('div', {},
        h('p', { class: 'hint' }, 'You have none? On the gateway’s machine this makes one and shows it once:'),
        h('pre', {}, command),
        h('p', { class: 'hint' }, 'The role reader sees everything, operator acts, admin manages tokens too.'))));
}
