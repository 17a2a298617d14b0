// chart.js -- what all charts over uPlot have in common: colours of the page, size, an empty case.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { bytes, duration } from './format.js';
import { cssColor, element } from './dom.js';

const HEIGHT = 230;
// Powers of two, so that the axis reads 64 MiB and not 67.1.
const BYTE_STEPS = Array.from({ length: 50 }, (_, i) => 2 ** i);

export function axis(more) {
  return {
    stroke: cssColor('--dim'),
    font: '12px system-ui, sans-serif',
    size: 40,
    grid: { stroke: cssColor('--line'), width: 1 },
    ticks: { stroke: cssColor('--line'), width: 1 },
    ...more,
  };
}

export function byteAxis() {
  return axis({
    incrs: BYTE_STEPS,
    size: 74,
    values: (u, splits) => splits.map((at) => brief(bytes(at))),
  });
}

// Steps of time that a clock has.
const TIME_STEPS = [
  ...[1, 10, 100].flatMap((n) => [1, 2, 5].map((m) => (n * m) / 1000)),
  1,
  2,
  5,
  10,
  15,
  30,
  60,
  120,
  300,
  600,
  900,
  1800,
  3600,
  7200,
  14400,
  28800,
  43200,
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((days) => 86400 * days),
];

function clock(at, step) {
  const two = (n) => String(Math.floor(n)).padStart(2, '0');
  const seconds =
    step < 1
      ? (at % 60).toFixed(step < 0.01 ? 3 : 2).padStart(step < 0.01 ? 6 : 5, '0')
      : two(at % 60);
  const whole =
    at >= 86400 ? `${Math.floor(at / 86400)} d ${two((at / 3600) % 24)}` : Math.floor(at / 3600);
  return at >= 3600
    ? `${whole}:${two((at / 60) % 60)}${step < 60 ? `:${seconds}` : ' h'}`
    : `${Math.floor(at / 60)}:${seconds}`;
}

// Seconds since the start: as such while there are few, else as a clock shows them.
export function secondsAxis() {
  const text = (at, step, last) =>
    last < 120 || at === 0
      ? `${at.toFixed(step < 0.01 ? 3 : step < 0.1 ? 2 : step < 1 ? 1 : 0)} s`
      : clock(at, step);
  return axis({
    space: 70,
    incrs: TIME_STEPS,
    values: (u, splits, i, space, step) => splits.map((at) => text(at, step, u.scales.x.max)),
  });
}

// 64 MiB where the rules for figures would say 64.0 MiB.
export function brief(text) {
  return text.replace(/\.0+ /, ' ');
}

// The first of all series: where the mouse is. Read like the values of the others.
export function timeSeries() {
  return { label: 'time', value: (u, at) => orDash(at, (s) => duration(Math.round(s * 1e9))) };
}

function orDash(value, format) {
  return value === null || value === undefined ? '–' : format(value);
}

export function line(label, color, format, more) {
  return {
    label,
    stroke: cssColor(color),
    width: 1.5,
    points: { show: false },
    value: (u, value) => orDash(value, format),
    ...more,
  };
}

export function nothing(text) {
  return element('p', { class: 'nothing' }, text);
}

// A chart as wide as `box`, now and after the window has changed.
export function draw(box, options, data) {
  const plot = new uPlot(
    { width: Math.max(200, box.clientWidth), height: HEIGHT, ...options },
    data,
    box,
  );
  const watch = new ResizeObserver(() => {
    if (box.clientWidth > 0 && box.clientWidth !== plot.width) {
      plot.setSize({ width: box.clientWidth, height: options.height ?? HEIGHT });
    }
  });
  watch.observe(box);
  return {
    plot,
    destroy: () => {
      watch.disconnect();
      plot.destroy();
    },
  };
}

// A box that keys can steer: + and - zoom, arrows move, 0 shows all.
export function steer(box, plots, whole) {
  const set = (min, max) => plots().forEach((plot) => plot.setScale('x', { min, max }));
  const actions = {
    '+': (min, max, w) => set(min + w / 4, max - w / 4),
    '-': (min, max, w) => set(Math.max(whole[0], min - w / 2), Math.min(whole[1], max + w / 2)),
    ArrowLeft: (min, max, w) => {
      const by = Math.min(w / 4, min - whole[0]);
      set(min - by, max - by);
    },
    ArrowRight: (min, max, w) => {
      const by = Math.min(w / 4, whole[1] - max);
      set(min + by, max + by);
    },
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
