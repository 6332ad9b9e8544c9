import { svg } from './dom.js';

// spark draws the last numbers as a line. It says nothing that the value
// beside it does not say better to those who cannot see it.
export function spark(points) {
  const width = 100;
  const height = 28;
  const low = Math.min(...points);
  const span = Math.max(...points) - low;
  const at = (p, i) => [
    (i / Math.max(1, points.length - 1)) * (width - 4) + 2,
    span === 0 ? height / 2 : height - 3 - ((p - low) / span) * (height - 6),
  ];
  const path = points.map((p, i) => `${i ? 'L' : 'M'}${at(p, i).map((n) => n.toFixed(1)).join(' ')}`).join('');
  return svg('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('path', { d: path }));
}
