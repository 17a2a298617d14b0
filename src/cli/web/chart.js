// chart.js -- what all charts over uPlot have in common: colours of the page, size, an empty case.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { bytes } from './format.js';
import { cssColor, element } from './dom.js';

const HEIGHT = 230;
// Powers of two, so that the axis reads 64 MiB and not 67.1.
const BYTE_STEPS = Array.from({ length: 50 }, (_, i) => 2 ** i);

export function axis(more) {
  return {
    stroke: cssColor('--dim'), font: '12px system-ui, sans-serif', size: 40,
    grid: { stroke: cssColor('--line'), width: 1 }, ticks: { stroke: cssColor('--line'), width: 1 },
    ...more,
  };
}

export function byteAxis() {
  return axis({ incrs: BYTE_STEPS, size: 74, values: (u, splits) => splits.map(bytes) });
}

// Seconds since the start, as steps of the axis need them.
export function secondsAxis() {
  const text = (s, step) => (step < 1 ? `${s.toFixed(step < 0.01 ? 3 : 2)} s` : s < 120 ? `${s} s`
    : s < 7200 ? `${+(s / 60).toFixed(1)} min` : `${+(s / 3600).toFixed(2)} h`);
  return axis({ space: 70, values: (u, splits, i, space, step) => splits.map((s) => text(s, step)) });
}

export function line(label, color, format, more) {
  return {
    label, stroke: cssColor(color), width: 1.5, points: { show: false },
    value: (u, value) => (value === null || value === undefined ? '–' : format(value)), ...more,
  };
}

export function nothing(text) {
  return element('p', { class: 'nothing' }, text);
}

// A chart as wide as `box`, now and after the window has changed.
export function draw(box, options, data) {
  const plot = new uPlot({ width: Math.max(200, box.clientWidth), height: HEIGHT, ...options }, data, box);
  const watch = new ResizeObserver(() => {
    if (box.clientWidth > 0 && box.clientWidth !== plot.width) {
      plot.setSize({ width: box.clientWidth, height: options.height ?? HEIGHT });
    }
  });
  watch.observe(box);
  return { plot, destroy: () => { watch.disconnect(); plot.destroy(); } };
}

// A box that keys can steer: + and - zoom, arrows move, 0 shows all.
export function steer(box, plots, whole) {
  const set = (min, max) => plots().forEach((plot) => plot.setScale('x', { min, max }));
  const actions = {
    '+': (min, max, w) => set(min + w / 4, max - w / 4),
    '-': (min, max, w) => set(Math.max(whole[0], min - w / 2), Math.min(whole[1], max + w / 2)),
    ArrowLeft: (min, max, w) => { const by = Math.min(w / 4, min - whole[0]); set(min - by, max - by); },
    ArrowRight: (min, max, w) => { const by = Math.min(w / 4, whole[1] - max); set(min + by, max + by); },
    0: () => set(...whole),
  };
  box.addEventListener('keydown', (event) => {
    const action = actions[event.key === '=' ? '+' : event.key];
    if (!action || plots().length === 0 || event.ctrlKey || event.metaKey) return;
    const { min, max } = plots()[0].scales.x;
    action(min, max, max - min);
    event.preventDefault();
  });
}
