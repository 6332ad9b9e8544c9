import { h } from './dom.js';

// colour resolves a colour of the style sheet for the canvas.
function colour(name) {
  const probe = h('span', { class: 'visually-hidden' });
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function faint(value, alpha) {
  return value.replace(/^rgb\(([^)]+)\)$/, (_, inner) => `rgba(${inner}, ${alpha})`);
}

// chart draws series over time. spec.series are {label, colour, fill, show},
// show says a number in words; spec.summary says the whole for those who
// cannot see it.
export function chart(spec) {
  const box = h('div', { class: 'chart', role: 'img', 'aria-label': spec.label });
  const empty = h('p', { class: 'empty' }, 'The history begins when the gateway starts; the first points come within half a minute.');
  let plot = null;
  let data = null;
  let down = [];

  function make() {
    plot?.destroy();
    plot = null;
    if (!data || data[0].length < 2 || !box.isConnected) {
      if (!empty.isConnected) box.append(empty);
      return;
    }
    empty.remove();
    const text = colour('muted');
    const line = colour('line');
    const shade = faint(colour('fault'), 0.13);
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
    plot = new window.uPlot({
      width: Math.max(200, box.clientWidth),
      height: spec.height || 190,
      padding: [8, 18, 0, 0],
      cursor: { y: false, points: { size: 7 } },
      legend: { live: true },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, space: 64, size: 30, values: [
          [3600, '{HH}:{mm}', null, null, null, null, null, null, 1],
          [60, '{HH}:{mm}', null, null, null, null, null, null, 1],
          [1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1],
        ] },
        { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map((t) => spec.tick(t)) },
      ],
      series: [
        { label: 'Time', value: (_, t) => (t ? new Date(t * 1000).toLocaleTimeString('en-GB') : '–') },
        ...spec.series.map((s) => {
          const stroke = colour(s.colour);
          return {
            label: s.label, stroke, width: 2, fill: s.fill ? faint(stroke, 0.18) : undefined,
            points: { show: false }, value: (_, v) => (v === null || v === undefined ? '–' : s.show(v)),
          };
        }),
      ],
      hooks: { drawClear: [(u) => shadeDown(u, shade)] },
    }, data, box);
  }

  // The time that nothing went up is shaded.
  function shadeDown(u, fill) {
    u.ctx.save();
    u.ctx.fillStyle = fill;
    for (const [from, to] of down) {
      const left = Math.max(u.bbox.left, u.valToPos(from, 'x', true));
      const right = Math.min(u.bbox.left + u.bbox.width, u.valToPos(to, 'x', true));
      if (right > left) u.ctx.fillRect(left, u.bbox.top, right - left, u.bbox.height);
    }
    u.ctx.restore();
  }

  const sized = new ResizeObserver(() => {
    if (plot && Math.abs(plot.width - box.clientWidth) > 1) plot.setSize({ width: Math.max(200, box.clientWidth), height: spec.height || 190 });
    else if (!plot) make();
  });
  sized.observe(box);
  window.addEventListener('themechange', make);

  return {
    element: box,
    update(columns, downTimes, summary) {
      data = columns;
      down = downTimes;
      box.setAttribute('aria-label', `${spec.label}. ${summary}`);
      if (plot && data[0].length >= 2) plot.setData(data);
      else make();
    },
    close() {
      sized.disconnect();
      window.removeEventListener('themechange', make);
      plot?.destroy();
    },
  };
}
