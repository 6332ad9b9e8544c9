import { h, newID } from './dom.js';

// confirm asks before something is done that cannot be undone.
export function confirm({ title, text, action, danger = true }) {
  return new Promise((resolve) => {
    const heading = newID('dialog');
    const dialog = h('dialog', { 'aria-labelledby': heading },
      h('form', { method: 'dialog' },
        h('h2', { id: heading }, title),
        h('p', {}, text),
        h('div', { class: 'row end' },
          h('button', { value: 'no', type: 'submit' }, 'Cancel'),
          h('button', { value: 'yes', type: 'submit', class: danger ? 'danger' : 'primary' }, action))));
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'yes');
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// show puts something before everything else until it is closed.
export function show(title, ...content) {
  const heading = newID('dialog');
  const dialog = h('dialog', { 'aria-labelledby': heading },
    h('form', { method: 'dialog' },
      h('h2', { id: heading }, title), content,
      h('div', { class: 'row end' }, h('button', { type: 'submit', class: 'primary' }, 'Close'))));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

let tray = null;

// toast says shortly what was done; screen readers are told too.
export function toast(text) {
  if (!tray || !tray.isConnected) {
    tray = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
    document.body.append(tray);
  }
  const item = h('div', { class: 'toast' }, text);
  tray.append(item);
  setTimeout(() => item.remove(), 6000);
}
