// records.js -- what else is in the profile: cycles, totals, options, threads, modules, events.
import { bytes, count, duration } from './format.js';
import { element, section } from './dom.js';
import { Table } from './table.js';
import { nothing } from './chart.js';

const number = (title, field, text = count, hint = undefined) => ({
  title,
  numeric: true,
  value: (row) => row[field] ?? 0,
  text,
  hint,
});
const word = (title, field, wide = false) => ({ title, value: (row) => row[field] ?? '', wide });

const CYCLE = [
  number('Cycle', 'number'),
  word('Reason', 'reason'),
  number('Begun', 'begun', duration),
  number('Took', 'took', duration),
  number('Stopping', 'stopping', duration, 'of it, until the world stood still'),
  number('Pauses', 'pauses'),
  number('Longest', 'pause', duration, 'the longest pause'),
  number('Paused', 'paused', duration),
  number('Before', 'heap_before', bytes, 'heap when the cycle began'),
  number('Marked', 'heap_marked', bytes),
  number('Live', 'live', bytes),
  number('Goal', 'goal', bytes),
  number('Stacks', 'stack_bytes', bytes),
  number('Roots', 'root_bytes', bytes),
  number('Not reached', 'unreached_bytes', bytes),
  number('Blocks', 'unreached_blocks'),
  number('Reclaimed', 'reclaimed_bytes', bytes, 'ever, when the cycle ended'),
  number('Blocks', 'reclaimed_blocks'),
  number('Contradictions', 'contradictions'),
  { title: 'Reclaims', value: (row) => (row.reclaiming ? 'yes' : 'no') },
];
const EVENT = [
  number('Time', 'time', duration),
  number('Thread', 'thread', String),
  word('Kind', 'kind'),
  number('a', 'a'),
  number('b', 'b'),
];
const MODULE = [
  word('Path', 'path', true),
  word('Build id', 'build_id'),
  word('Start', 'start'),
  word('End', 'end'),
  number('Loaded', 'loaded', duration),
  number('Unloaded', 'unloaded', (ns) => (ns ? duration(ns) : '–')),
];
const THREAD = [number('Task', 'tid', String), word('Name', 'name', true)];

function totalText(name, value) {
  if (typeof value !== 'number') return String(value);
  if (name.endsWith('_bytes') || /^heap_/.test(name)) return bytes(value);
  return /^(last_cycle|pause_total|pause_longest|collector_time)$/.test(name)
    ? duration(value)
    : count(value);
}

function pairs(object, text) {
  return element(
    'table',
    { class: 'pairs' },
    element(
      'tbody',
      {},
      Object.entries(object).map(([name, value]) =>
        element(
          'tr',
          {},
          element('th', { scope: 'row' }, name),
          element('td', { class: 'number', title: String(value) }, text(name, value)),
        ),
      ),
    ),
  );
}

function folded(id, title, rows, columns) {
  if (rows.length === 0) return null;
  const box = element(
    'details',
    { id },
    element('summary', {}, `${title} (${count(rows.length)})`),
  );
  // Made when it is opened: most readers never look.
  box.addEventListener('toggle', () => {
    if (box.children.length === 1) box.append(new Table({ columns, rows, label: title }).shown);
  });
  return box;
}

export function cycles(profile) {
  return section(
    'cycles',
    'Cycles',
    profile.cycles.length === 0
      ? nothing('There was no cycle.')
      : new Table({ columns: CYCLE, rows: profile.cycles, label: 'cycles' }).shown,
  );
}

export function records(profile) {
  return [
    section(
      'figures',
      'Totals and options',
      element(
        'div',
        { class: 'pair' },
        element('div', {}, element('h3', {}, 'Totals'), pairs(profile.totals, totalText)),
        element(
          'div',
          {},
          element('h3', {}, 'Options'),
          pairs(profile.options, (_, value) => String(value)),
        ),
      ),
    ),
    section(
      'rest',
      'Also recorded',
      folded('threads', 'Threads', profile.threads, THREAD),
      folded('modules', 'Modules', profile.modules, MODULE),
      folded('events', 'Events', profile.events, EVENT),
    ),
  ];
}
