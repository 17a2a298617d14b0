// profile.js -- the profile, with the sums and joins that several parts of the page ask for.
//
// Its schema stands in json.h. Whatever is missing counts as empty: older files open, too.
import { basename } from './format.js';

const LISTS = [
  'notes',
  'modules',
  'threads',
  'sites',
  'reach',
  'leaks',
  'contradictions',
  'cycles',
  'moments',
  'events',
];
// Frames that say nothing about who asked for the memory.
const PLUMBING = new RegExp(
  '^(operator new|(__GI_)?_*x?(malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|' +
    'posix_memalign|strn?dup|v?asprintf|libc_\\w+)\\b|std::|__gnu_cxx::|<?alloc::)',
);

export function sum(list, value) {
  let total = 0;
  for (const item of list) total += value(item);
  return total;
}

export function most(list, value) {
  let found = 0;
  for (const item of list) found = Math.max(found, value(item));
  return found;
}

export class Profile {
  constructor(json) {
    const { frames, ...others } = json;
    Object.assign(this, others);
    this.places = frames ?? [];
    this.whole = new Map();
    for (const name of LISTS) this[name] = json[name] ?? [];
    for (const name of ['process', 'options', 'totals', 'stacks']) this[name] = json[name] ?? {};
    this.buildIds = new Map(this.modules.map((module) => [module.path, module.build_id]));
  }

  // Innermost first. A place stands for the frames of an address; version 1 had these themselves.
  frames(stack) {
    let frames = this.whole.get(stack);
    if (frames === undefined) {
      frames = (this.stacks[stack] ?? []).flatMap((one) => this.places[one] ?? one);
      this.whole.set(stack, frames);
    }
    return frames;
  }

  // What a stack is called in one line: the innermost frame of the program's own.
  title(stack) {
    const frames = this.frames(stack);
    if (frames.length === 0) return stack ? `stack ${stack}` : 'no stack recorded';
    return frameName(
      frames.find((frame) => frame.function && !PLUMBING.test(frame.function)) ?? frames[0],
    );
  }

  place(stack) {
    const frames = this.frames(stack);
    const frame = frames.find((one) => one.function && !PLUMBING.test(one.function)) ?? frames[0];
    return frame ? placeOf(frame) : '';
  }

  // All text of a stack, for filters.
  text(stack) {
    this.texts ??= new Map();
    if (!this.texts.has(stack))
      this.texts.set(stack, this.frames(stack).map(frameText).join('\n').toLowerCase());
    return this.texts.get(stack);
  }

  leaked(state) {
    return state ? this.leaks.filter((leak) => leak.state === state) : this.leaks;
  }

  // Do blocks with a stack stand for those without one?
  get estimated() {
    return this.sampled ?? this.options.stacks === 'sampled';
  }
}

// Of a leak, or of what is reachable; where nothing was sampled, what was counted.
export function estimate(entry, unit) {
  return entry[`estimated_${unit}`] ?? entry[unit];
}

export function frameName(frame) {
  if (frame.function) return frame.function;
  if (frame.module) return `${basename(frame.module)}+${frame.offset ?? '?'}`;
  return frame.pc ?? '?';
}

function placeOf(frame) {
  if (!frame.file) return frame.module ? basename(frame.module) : '';
  return `${basename(frame.file)}${frame.line ? `:${frame.line}` : ''}`;
}

function frameText(frame) {
  return `${frameName(frame)} ${frame.file ?? ''}:${frame.line ?? ''} ${frame.module ?? ''}`;
}

// What can be drawn of the stacks: [text, the entries, what an entry is worth in blocks or bytes].
export const VIEWS = {
  leaked: ['Leaked, all', (p) => p.leaks],
  remaining: ['Leaked, remaining', (p) => p.leaked('remaining')],
  reclaimed: ['Leaked, reclaimed', (p) => p.leaked('reclaimed')],
  reachable: ['Reachable', (p) => p.reach],
  live: [
    'Live (allocated − freed)',
    (p) => p.sites,
    (site, unit) => Math.max(0, site[`allocated_${unit}`] - site[`freed_${unit}`]),
  ],
  allocated: ['Allocated', (p) => p.sites, (site, unit) => site[`allocated_${unit}`]],
};

export function entries(profile, view, unit) {
  const [, list, value = estimate] = VIEWS[view];
  return list(profile)
    .map((entry) => [entry.stack, value(entry, unit)])
    .filter(([, n]) => n > 0);
}
