// pauses.js -- for how long the program was stopped: how often, and when.
import uPlot from 'uplot';
import { count, duration, plural } from './format.js';
import { element, section, cssColor } from './dom.js';
import { axis, brief, draw, line, nothing, secondsAxis, timeSeries } from './chart.js';

const BINS_PER_DECADE = 5;

// Bins of equal width in the logarithm, an empty one on either side.
function histogram(pauses) {
  const bin = (ns) => Math.floor(Math.log10(ns) * BINS_PER_DECADE + 1e-9);
  const bins = pauses.map(bin);
  const first = Math.min(...bins) - 1;
  const counts = new Array(Math.max(...bins) + 2 - first).fill(0);
  for (const at of bins) counts[at - first]++;
  // The middle of the bin is where the bar stands.
  return [counts.map((_, i) => (first + i + 0.5) / BINS_PER_DECADE), counts];
}

function range(middle) {
  const half = 0.5 / BINS_PER_DECADE;
  return [middle - half, middle + half].map((at) => duration(Math.round(10 ** at))).join(' – ');
}

// 1, 2 and 5 of each decade where there are few, else the decades.
function decades(u, i, min, max) {
  const all = [];
  for (let at = Math.floor(min); at <= Math.ceil(max); at++) {
    for (const step of max - min < 2.5 ? [1, 2, 5] : [1]) all.push(at + Math.log10(step));
  }
  return all.filter((at) => at >= min && at <= max);
}

function histogramOptions() {
  return {
    scales: {
      x: { time: false, range: (u, min, max) => [min - 0.1, max + 0.1] },
      y: { range: (u, min, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      axis({
        splits: decades,
        values: (u, splits) => splits.map((at) => brief(duration(Math.round(10 ** at)))),
      }),
      axis({ size: 56, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }),
    ],
    series: [
      {
        label: 'longest pause',
        value: (u, at) => (at === null || at === undefined ? '–' : range(at)),
      },
      line('cycles', '--series-1', count, {
        fill: cssColor('--series-1-fill'),
        paths: uPlot.paths.bars({ size: [0.92, 80] }),
      }),
    ],
    cursor: { drag: { x: false, y: false }, points: { show: false } },
  };
}

function overTimeOptions() {
  const dots = (label, color) =>
    line(label, color, duration, {
      paths: () => null,
      points: { show: true, size: 6, fill: cssColor(color) },
    });
  const decade = (u, min, max) =>
    max > 0
      ? [10 ** Math.floor(Math.log10(min)), 10 ** Math.ceil(Math.log10(max * 1.01))]
      : [1e3, 1e6];
  return {
    scales: {
      x: { time: false, range: (u, min, max) => [min, Math.max(max, min + 1e-6)] },
      y: { distr: 3, log: 10, range: decade },
    },
    axes: [
      secondsAxis(),
      axis({
        size: 64,
        values: (u, splits) =>
          splits.map((ns) =>
            ns === null ? null : Math.abs(Math.log10(ns) % 1) < 1e-9 ? brief(duration(ns)) : '',
          ),
      }),
    ],
    series: [
      timeSeries(),
      dots('all of a cycle', '--series-3'),
      dots('longest pause', '--series-1'),
    ],
  };
}

export function pauses(profile) {
  const cycles = profile.cycles.filter((cycle) => cycle.pause > 0);
  const boxes = [0, 1].map(() => element('div', { class: 'chart' }));
  const shown = section(
    'pauses',
    'Pauses',
    cycles.length === 0
      ? nothing(
          profile.totals.cycles > 0
            ? 'No cycle that is on record stopped the program.'
            : 'There was no cycle.',
        )
      : element(
          'div',
          { class: 'pair' },
          element(
            'div',
            {},
            element('h3', {}, `Longest pause of ${plural(cycles.length, 'cycle')}`),
            boxes[0],
          ),
          element('div', {}, element('h3', {}, 'Over time'), boxes[1]),
        ),
  );
  let charts = [];

  function redraw() {
    charts.forEach((chart) => chart.destroy());
    charts = [
      draw(boxes[0], histogramOptions(), histogram(cycles.map((cycle) => cycle.pause))),
      draw(boxes[1], overTimeOptions(), [
        cycles.map((cycle) => cycle.begun / 1e9),
        cycles.map((cycle) => Math.max(cycle.paused, cycle.pause)),
        cycles.map((cycle) => cycle.pause),
      ]),
    ];
  }
  return { shown, redraw: cycles.length ? redraw : () => {} };
}
