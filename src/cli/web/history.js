// history.js -- the heap and the leaks over time, cycles as marks; both charts show the same time.
import { bytes, count, duration } from './format.js';
import { cssColor, element, section } from './dom.js';
import { byteAxis, draw, line, nothing, secondsAxis, steer, timeSeries } from './chart.js';

// A cursor so near to a mark means it.
const NEAR_PX = 6;

const HEAP = [
  ['resident', 'resident_bytes', '--series-3'],
  ['heap used', 'heap_used', '--series-1'],
  ['live', 'live', '--series-2'],
];
const LEAKS = [
  ['not reached', 'unreached_bytes', '--series-4'],
  ['reclaimed so far', 'reclaimed_bytes', '--series-5'],
];

function drawMarks(u, cycles) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = cssColor('--mark');
  ctx.lineWidth = devicePixelRatio;
  ctx.globalAlpha = cycles.length > 60 ? 0.3 : 0.6;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  for (const cycle of cycles) {
    const x = Math.round(u.valToPos(cycle.begun / 1e9, 'x', true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}

function nearest(u, cycles) {
  const distance = (cycle) => Math.abs(u.valToPos(cycle.begun / 1e9, 'x') - u.cursor.left);
  let found = null;
  for (const cycle of cycles) if (!found || distance(cycle) < distance(found)) found = cycle;
  return found && u.cursor.left >= 0 && distance(found) <= NEAR_PX ? found : null;
}

function describe(cycle) {
  return (
    `Cycle ${count(cycle.number)} (${cycle.reason}) at ${duration(cycle.begun)}: ` +
    `took ${duration(cycle.took)}, longest pause ${duration(cycle.pause)}, ` +
    `${bytes(cycle.heap_before)} before, ${bytes(cycle.live)} live, ` +
    `${bytes(cycle.unreached_bytes)} not reached.`
  );
}

export function history(profile) {
  const { moments, cycles } = profile;
  const boxes = [HEAP, LEAKS].map(() => element('div', { class: 'chart' }));
  const hint =
    'Drag to zoom; double click, or 0, shows all. With the keyboard: + − ← →.' +
    (cycles.length ? ' Vertical marks are cycles.' : '');
  const told = element('p', { class: 'told', 'aria-live': 'polite' }, hint);
  const steered = element(
    'div',
    { class: 'charts', tabindex: 0, role: 'group', 'aria-label': 'charts over time' },
    element('h3', {}, 'Heap'),
    boxes[0],
    element('h3', {}, 'Leaks'),
    boxes[1],
    told,
  );
  const shown = section(
    'history',
    'Over time',
    moments.length ? steered : nothing('No history was recorded.'),
  );
  let charts = [];
  let moving = false;

  const x = moments.map((moment) => moment.time / 1e9);
  const whole = [x[0], Math.max(x.at(-1) ?? 0, (x[0] ?? 0) + 1e-3)];

  // What one chart is zoomed to, the other is.
  function follow(u, key) {
    if (key !== 'x' || moving) return;
    moving = true;
    const { min, max } = u.scales.x;
    Object.assign(steered.dataset, { from: min, to: max });
    charts.forEach(({ plot }) => plot !== u && plot.setScale('x', { min, max }));
    moving = false;
  }

  function tell(u) {
    const cycle = nearest(u, cycles);
    told.textContent = cycle ? describe(cycle) : hint;
  }

  function options(series) {
    return {
      scales: {
        x: { time: false, range: (u, min, max) => [min, Math.max(max, min + 1e-6)] },
        y: { range: (u, min, max) => [0, max > 0 ? max * 1.05 : 1] },
      },
      axes: [secondsAxis(), byteAxis()],
      series: [
        timeSeries(),
        ...series.map(([label, , color]) =>
          line(label, color, bytes, { points: { show: moments.length < 3, size: 6 } }),
        ),
      ],
      cursor: { sync: { key: 'history', setSeries: false }, drag: { x: true, y: false } },
      hooks: { draw: [(u) => drawMarks(u, cycles)], setScale: [follow], setCursor: [tell] },
    };
  }

  function redraw() {
    const shownNow = charts[0] && {
      min: charts[0].plot.scales.x.min,
      max: charts[0].plot.scales.x.max,
    };
    charts.forEach((chart) => chart.destroy());
    charts = [HEAP, LEAKS].map((series, i) =>
      draw(boxes[i], options(series), [
        x,
        ...series.map(([, field]) => moments.map((moment) => moment[field] ?? null)),
      ]),
    );
    if (shownNow) charts[0].plot.setScale('x', shownNow);
  }

  steer(steered, () => charts.map(({ plot }) => plot), whole);
  return { shown, redraw: moments.length ? redraw : () => {} };
}
