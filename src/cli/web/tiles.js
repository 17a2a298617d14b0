// tiles.js -- the heading, what must be said first, and the figures that people look for.
import { bytes, count, duration, plural } from './format.js';
import { element } from './dom.js';
import { most, sum } from './profile.js';

const REASONS = {
  exit: 'at its exit',
  request: 'on request',
  signal: 'on a signal',
  periodic: 'periodically',
};

// As it would be typed into a shell.
function quote(argument) {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

export function heading(profile, ...controls) {
  const {
    program,
    pid,
    uid,
    ppid,
    arguments: args = [],
    started_unix_ns: started,
    uptime_ns: uptime,
    reason,
  } = profile.process;
  const name = program ?? args[0] ?? 'a program';
  document.title = `${name.slice(name.lastIndexOf('/') + 1)} (${pid ?? '?'}) – gcmalloc`;
  const when = started ? new Date(started / 1e6) : null;
  const facts = [
    pid !== undefined && `process ${pid}`,
    ppid !== undefined && `parent ${ppid}`,
    uid !== undefined && `user ${uid}`,
    when && ['started ', element('time', { datetime: when.toISOString() }, when.toLocaleString())],
    uptime !== undefined &&
      `profile taken after ${duration(uptime)}${reason ? `, ${REASONS[reason] ?? reason}` : ''}`,
  ].filter(Boolean);
  return element(
    'header',
    {},
    element(
      'div',
      { class: 'title' },
      element('h1', {}, name),
      element('div', { class: 'controls' }, controls),
    ),
    args.length ? element('pre', { class: 'command' }, args.map(quote).join(' ')) : null,
    element(
      'p',
      { class: 'facts' },
      facts.map((fact) => element('span', {}, fact)),
    ),
  );
}

export function notes(profile) {
  const all = [...profile.notes];
  if (profile.estimated) {
    all.push(
      'Stacks were sampled: amounts by site are estimates (≈), in which blocks with a stack stand ' +
        'for those without one. Sums of leaks and of what is reachable, and the column Counted, ' +
        'were counted one by one; blocks without a stack are under “no stack recorded”.',
    );
  }
  if (profile.forgotten_modules)
    all.push(
      `${count(profile.forgotten_modules)} unloaded modules were not kept: ` +
        'functions that were in them may have no name, or another one.',
    );
  if (profile.unrecorded) all.push(`No stacks were recorded: ${profile.unrecorded}.`);
  return all.length === 0
    ? null
    : element(
        'ul',
        { class: 'notes', 'aria-label': 'notes' },
        all.map((note) => element('li', {}, note)),
      );
}

function tile(name, title, value, more, tone) {
  return element(
    'div',
    { class: `tile ${tone ?? ''}`, 'data-tile': name },
    element('h3', {}, title),
    element('div', { class: 'value' }, value),
    element('div', { class: 'more' }, more),
  );
}

function amount(name, title, list, tone) {
  const size = sum(list, (entry) => entry.bytes);
  return tile(
    name,
    title,
    bytes(size),
    `${count(size)} bytes in ${plural(
      sum(list, (entry) => entry.blocks),
      'block',
    )}`,
    size > 0 ? tone : '',
  );
}

function heapTile(profile) {
  const { heap_used: used = 0, heap_live: live = 0 } = profile.totals;
  return tile(
    'heap',
    'Heap at the end',
    bytes(used),
    `${count(used)} bytes; ${bytes(live)} live at the last mark`,
  );
}

function peakTile(profile) {
  const peak = Math.max(
    profile.totals.heap_used ?? 0,
    most(profile.moments, (moment) => moment.heap_used),
    most(profile.cycles, (cycle) => cycle.heap_before),
  );
  const resident = Math.max(
    profile.totals.resident_bytes ?? 0,
    most(profile.moments, (moment) => moment.resident_bytes),
  );
  return tile(
    'peak',
    'Heap at its peak',
    bytes(peak),
    `in the history and before cycles; ${bytes(resident)} resident at most`,
  );
}

function cycleTiles(profile) {
  const {
    cycles = 0,
    cycles_forced: forced = 0,
    pause_longest: longest = 0,
    pause_total: total = 0,
    collector_time: time = 0,
    contradictions = 0,
    probation_passed: passed = 0,
    probation_needed: needed = 0,
  } = profile.totals;
  const reclaims = profile.totals.reclaiming
    ? 'leaks are reclaimed'
    : `nothing is reclaimed; probation ${count(passed)} of ${count(needed)}`;
  return [
    tile('cycles', 'Cycles', count(cycles), `${count(forced)} not begun by growth; ${reclaims}`),
    tile(
      'pause',
      'Longest pause',
      duration(longest),
      `${duration(total)} in all; collector: ${duration(time)} of processor time`,
    ),
    tile(
      'contradictions',
      'Contradictions',
      count(contradictions),
      contradictions
        ? 'blocks used though no pointer to them was found'
        : 'none: no block was used that had been judged',
      contradictions ? 'bad' : '',
    ),
    tile(
      'notes',
      'Notes',
      count(profile.notes.length),
      profile.notes.length
        ? profile.notes[0]
        : 'no interlock, nothing kept the collector from its work',
      profile.notes.length ? 'warn' : '',
    ),
  ];
}

export function tiles(profile) {
  return element(
    'section',
    { class: 'tiles', 'aria-label': 'figures' },
    amount('leaked', 'Leaked', profile.leaks, 'bad'),
    amount('remaining', 'Of it, remaining', profile.leaked('remaining'), 'bad'),
    amount('reclaimed', 'Of it, reclaimed', profile.leaked('reclaimed'), 'good'),
    amount('reachable', 'Still reachable', profile.reach),
    heapTile(profile),
    peakTile(profile),
    cycleTiles(profile),
  );
}
