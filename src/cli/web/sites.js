// sites.js -- who asked for the memory: a table of leaks and sites, one of what is still reachable.
import { bytes, count, plural } from './format.js';
import { choice, element, searchBox, section } from './dom.js';
import { estimate, sum } from './profile.js';
import { Table } from './table.js';
import { nothing } from './chart.js';

function frameLine(profile, frame, number) {
  const id = profile.buildIds.get(frame.module);
  const place = frame.file
    ? `${frame.file}${frame.line ? `:${frame.line}` : ''}${frame.column ? `:${frame.column}` : ''}`
    : '';
  return element(
    'li',
    { value: number },
    element('span', { class: 'pc' }, frame.pc ?? ''),
    ' ',
    element('span', { class: 'function' }, frame.function ?? '??'),
    frame.inlined ? [' ', element('span', { class: 'badge' }, 'inlined')] : [],
    place ? [' ', element('span', { class: 'place' }, place)] : [],
    ' ',
    frame.module
      ? element(
          'span',
          { class: 'module' },
          `${frame.module}+${frame.offset ?? '?'}${id && id !== '-' ? ` (BuildId: ${id})` : ''}`,
        )
      : [],
  );
}

function stackDetail(profile, stack) {
  const frames = profile.frames(stack);
  if (frames.length === 0)
    return nothing('No stack was recorded for these blocks: GCMALLOC=stacks=all records all.');
  return element(
    'ol',
    { class: 'stack', start: 0, onclick: (event) => event.stopPropagation() },
    frames.map((frame, number) => frameLine(profile, frame, number)),
  );
}

function functionCell(profile, row) {
  return [
    element('span', { class: 'function' }, profile.title(row.stack)),
    ' ',
    element('span', { class: 'place' }, profile.place(row.stack)),
  ];
}

// One row per stack, kind and state; sizes are joined. A site that leaked nothing has a row, too.
function siteRows(profile) {
  const rows = new Map();
  for (const leak of profile.leaks) {
    const key = `${leak.stack} ${leak.kind} ${leak.state}`;
    const row = rows.get(key) ?? {
      stack: leak.stack,
      kind: leak.kind,
      state: leak.state,
      blocks: 0,
      bytes: 0,
      counted: 0,
      youngest: Infinity,
      oldest: 0,
      size: leak.size,
      site: null,
    };
    rows.set(
      key,
      Object.assign(row, {
        blocks: row.blocks + estimate(leak, 'blocks'),
        bytes: row.bytes + estimate(leak, 'bytes'),
        counted: row.counted + leak.bytes,
        youngest: Math.min(row.youngest, leak.youngest),
        oldest: Math.max(row.oldest, leak.oldest),
        size: row.size === leak.size ? row.size : 0,
      }),
    );
  }
  const sites = new Map(profile.sites.map((site) => [site.stack, site]));
  const leaking = new Set();
  for (const row of rows.values()) {
    row.site = sites.get(row.stack) ?? null;
    leaking.add(row.stack);
  }
  const others = profile.sites
    .filter((site) => !leaking.has(site.stack))
    .map((site) => ({
      stack: site.stack,
      kind: '',
      state: '',
      blocks: 0,
      bytes: 0,
      counted: 0,
      youngest: 0,
      oldest: 0,
      size: 0,
      site,
    }));
  return [...rows.values(), ...others];
}

const orNothing = (format) => (value) => (value ? format(value) : '–');
const ESTIMATE = 'an estimate, from a sample of the allocations';

// How an amount is shown that is an estimate where stacks were sampled, and what is said of it.
function estimated(profile, format) {
  return profile.estimated
    ? { text: orNothing((value) => `≈ ${format(value)}`), hint: ESTIMATE }
    : { text: orNothing(format) };
}

function countedColumn(profile, value) {
  if (!profile.estimated) return [];
  const hint = 'bytes of the blocks that were counted one by one';
  return [{ title: 'Counted', numeric: true, value, text: orNothing(bytes), hint }];
}

function siteColumns(profile) {
  const ofSite = (field) => (row) => row.site?.[field] ?? 0;
  const live = (row) => Math.max(0, ofSite('allocated_bytes')(row) - ofSite('freed_bytes')(row));
  const [inBytes, inBlocks] = [estimated(profile, bytes), estimated(profile, count)];
  return [
    {
      title: 'Function',
      value: (row) => profile.title(row.stack),
      text: (_, row) => functionCell(profile, row),
      wide: true,
    },
    { title: 'Kind', value: (row) => row.kind, text: (v) => v || '–' },
    { title: 'State', value: (row) => row.state, text: (v) => v || '–' },
    { title: 'Leaked', numeric: true, value: (row) => row.bytes, ...inBytes },
    { title: 'Blocks', numeric: true, value: (row) => row.blocks, ...inBlocks },
    ...countedColumn(profile, (row) => row.counted),
    {
      title: 'Size',
      numeric: true,
      value: (row) => row.size,
      text: orNothing(bytes),
      hint: 'of a block; – where there are several',
    },
    {
      title: 'Age',
      numeric: true,
      hint: 'for how many cycles it had not been reached',
      value: (row) => row.oldest,
      text: (v, row) =>
        !row.kind
          ? '–'
          : row.youngest === row.oldest
            ? count(v)
            : `${count(row.youngest)}–${count(v)}`,
    },
    { title: 'Allocated', numeric: true, value: ofSite('allocated_bytes'), ...inBytes },
    { title: 'Freed', numeric: true, value: ofSite('freed_bytes'), ...inBytes },
    { title: 'Live', numeric: true, value: live, ...inBytes },
  ];
}

export function sites(profile, flame) {
  const wanted = { kind: '', state: '', text: '' };
  const all = siteRows(profile);
  const table = new Table({
    columns: siteColumns(profile),
    rows: all,
    sort: 3,
    label: 'sites',
    open: (row) => stackDetail(profile, row.stack),
    onopen: (row) => flame.highlight(row.stack, row.state || 'allocated'),
    onclose: () => flame.unmark(),
  });
  const kinds = { direct: 'direct', indirect: 'indirect' };
  const states = {
    remaining: 'remaining',
    reclaimed: 'reclaimed',
    leaked: 'any leak',
    none: 'no leak',
  };
  const fitsState = (row) =>
    !wanted.state ||
    (wanted.state === 'leaked'
      ? row.kind !== ''
      : wanted.state === 'none'
        ? row.kind === ''
        : row.state === wanted.state);
  const apply = (change) => {
    Object.assign(wanted, change);
    table.filter(
      (row) =>
        (!wanted.kind || row.kind === wanted.kind) &&
        fitsState(row) &&
        (!wanted.text || profile.text(row.stack).includes(wanted.text)),
    );
  };
  const tools = element(
    'div',
    { class: 'tools' },
    searchBox('Filter by function, file, module', (text) =>
      apply({ text: text.trim().toLowerCase() }),
    ),
    choice('Kind', [['', 'all'], ...Object.entries(kinds)], '', (kind) => apply({ kind })),
    choice('State', [['', 'all'], ...Object.entries(states)], '', (state) => apply({ state })),
  );
  return section(
    'sites',
    'Sites',
    all.length === 0 ? nothing('No site was recorded.') : [tools, table.shown],
  );
}

export function reachable(profile, flame) {
  const rows = profile.reach;
  const table = new Table({
    columns: [
      {
        title: 'Function',
        value: (row) => (row.stack ? profile.title(row.stack) : 'no stack recorded'),
        wide: true,
        text: (name, row) => (row.stack ? functionCell(profile, row) : name),
      },
      {
        title: 'Bytes',
        numeric: true,
        value: (row) => estimate(row, 'bytes'),
        ...estimated(profile, bytes),
      },
      {
        title: 'Blocks',
        numeric: true,
        value: (row) => estimate(row, 'blocks'),
        ...estimated(profile, count),
      },
      ...countedColumn(profile, (row) => row.bytes),
      {
        title: 'Size class',
        numeric: true,
        value: (row) => row.size,
        text: orNothing(bytes),
        hint: 'of blocks without a stack',
      },
    ],
    rows,
    sort: 1,
    label: 'still reachable',
    open: (row) => stackDetail(profile, row.stack),
    onopen: (row) => flame.highlight(row.stack, 'reachable'),
    onclose: () => flame.unmark(),
  });
  const filter = searchBox('Filter by function, file, module', (text) =>
    table.filter((row) => profile.text(row.stack).includes(text.trim().toLowerCase())),
  );
  return section(
    'reachable',
    'Still reachable',
    rows.length === 0
      ? nothing('Nothing was counted as reachable.')
      : [
          element(
            'p',
            { class: 'told' },
            `${bytes(sum(rows, (row) => row.bytes))} in ` +
              `${plural(
                sum(rows, (row) => row.blocks),
                'block',
              )} that the last mark reached.`,
          ),
          element('div', { class: 'tools' }, filter),
          table.shown,
        ],
  );
}

export function contradictions(profile, flame) {
  if (profile.contradictions.length === 0) return null;
  const table = new Table({
    columns: [
      {
        title: 'Allocated in',
        value: (row) => profile.title(row.stack),
        text: (_, row) => functionCell(profile, row),
        wide: true,
      },
      { title: 'Times', numeric: true, value: (row) => row.count, text: count },
    ],
    rows: profile.contradictions,
    sort: 1,
    label: 'contradictions',
    open: (row) => stackDetail(profile, row.stack),
    onopen: (row) => flame.highlight(row.stack, 'allocated'),
    onclose: () => flame.unmark(),
  });
  return section(
    'contradictions',
    'Contradictions',
    element(
      'p',
      { class: 'told' },
      'Blocks that the program used though no pointer to them had been found. ' +
        'Such sites are never reclaimed.',
    ),
    table.shown,
  );
}
