// Elements are made one by one and text is always text: nothing that a device
// sent is ever read as markup.
const svgNS = 'http://www.w3.org/2000/svg';

export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS(svgNS, tag), props, children);
}

function fill(el, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) el.addEventListener(key.slice(2), value);
    else if (key === 'class') el.setAttribute('class', value);
    else if (key === 'value') el.value = value;
    else if (key === 'checked' || key === 'disabled' || key === 'open' || key === 'selected') el[key] = value;
    else el.setAttribute(key, value === true ? '' : value);
  }
  el.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

export function replace(el, ...children) {
  el.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
}

// set changes a text only if it is another one, so that screen readers and
// selections are left alone.
export function set(el, text) {
  const s = String(text);
  if (el.textContent !== s) el.textContent = s;
}

let ids = 0;
export const newID = (prefix) => `${prefix}-${++ids}`;

// field is a labelled control.
export function field(label, control, hint) {
  const id = control.id || newID('f');
  control.id = id;
  const parts = [h('label', { for: id }, label), control];
  if (hint) {
    const hintID = newID('hint');
    control.setAttribute('aria-describedby', hintID);
    parts.push(h('p', { class: 'hint', id: hintID }, hint));
  }
  return h('div', {}, parts);
}

export function level(name, text) {
  return h('span', { class: `level level-${name}` }, text);
}
