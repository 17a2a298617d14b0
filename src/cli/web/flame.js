// flame.js -- the flame graph: which callers the memory goes back to. Outermost frames are on top.
import flamegraph from 'd3-flame-graph';
import { select } from 'd3-selection';
import { basename, bytes, percent, plural } from './format.js';
import { choice, element, searchBox, section } from './dom.js';
import { entries, VIEWS } from './profile.js';
import { makeTree, nodesOf } from './tree.js';
import { nothing } from './chart.js';

// Narrower frames are not drawn until zoomed to: no eye sees them, and there may be 100,000.
const LEAST_PX = 0.7;
const LEGEND = 10;
// Hues far from each other, one after the other: the golden angle.
const TURN = 137.508;

function hash(text) {
  let value = 0;
  for (let i = 0; i < text.length; i++) value = (value * 31 + text.charCodeAt(i)) | 0;
  return value >>> 0;
}

// A module has its hue, a function its shade. Dark text is read on all of them.
function shade(hue, name, inlined) {
  return `hsl(${hue.toFixed(0)} ${inlined ? 35 : 65}% ${70 + (hash(name) % 5) * 3}%)`;
}

// By order of appearance: the same in all views.
function huesOf(profile) {
  const hues = new Map();
  for (const stack of Object.keys(profile.stacks)) {
    const frames = profile.frames(stack);
    for (const { module } of frames)
      if (module && !hues.has(module)) hues.set(module, (35 + hues.size * TURN) % 360);
  }
  return hues;
}

function firstWithData(profile) {
  return Object.keys(VIEWS).find((view) => entries(profile, view, 'bytes').length > 0) ?? 'leaked';
}

export class Flame {
  constructor(profile) {
    this.profile = profile;
    this.view = firstWithData(profile);
    this.unit = 'bytes';
    this.term = '';
    this.marked = null;
    this.hues = huesOf(profile);
    this.box = element('div', {
      class: 'flame',
      tabindex: 0,
      role: 'group',
      'aria-label': 'flame graph: arrows move between frames, Enter zooms, Escape shows all',
    });
    this.details = element('p', { class: 'told flame-details', 'aria-live': 'polite' });
    this.found = element('span', { class: 'found', role: 'status' });
    this.box.addEventListener('keydown', (event) => this.key(event));
    this.shown = this.build();
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  build() {
    const empty = (view) => entries(this.profile, view, 'bytes').length === 0;
    this.choice = choice(
      'Show',
      Object.entries(VIEWS).map(([name, [text]]) => [name, empty(name) ? `${text} (none)` : text]),
      this.view,
      (view) => this.show({ view }),
    );
    this.search = searchBox('Search functions', (term) => this.find(term));
    return section(
      'flame',
      'Flame graph',
      element(
        'div',
        { class: 'tools' },
        this.choice,
        choice(
          'By',
          [
            ['bytes', 'bytes'],
            ['blocks', 'blocks'],
          ],
          this.unit,
          (unit) => this.show({ unit }),
        ),
        this.search,
        element('button', { type: 'button', onclick: () => this.reset() }, 'Whole graph'),
        this.found,
      ),
      this.box,
      this.details,
      this.legend(),
    );
  }

  legend() {
    const shown = [...this.hues].slice(0, LEGEND);
    const more = this.hues.size - shown.length;
    return element(
      'ul',
      { class: 'legend', 'aria-label': 'colours of modules' },
      shown.map(([module, hue]) =>
        element(
          'li',
          { title: module, style: `--chip: ${shade(hue, '', false)}` },
          basename(module),
        ),
      ),
      more > 0 ? element('li', { class: 'more' }, `and ${plural(more, 'module')} more`) : null,
    );
  }

  color(node) {
    const { frame, n } = node.data;
    if (node.highlight) return 'var(--found)';
    return frame?.module ? shade(this.hues.get(frame.module), n, frame.inlined) : 'var(--frame)';
  }

  amount(value) {
    return this.unit === 'bytes' ? bytes(value) : plural(value, 'block');
  }

  describe(node) {
    const { n, v, frame } = node.data;
    const where = frame?.module ? `, ${basename(frame.module)}` : '';
    const inlined = frame?.inlined ? ', inlined' : '';
    return `${n}${where}${inlined}: ${this.amount(v)}, ${percent(v, this.tree.v)} of all`;
  }

  show({ view = this.view, unit = this.unit }) {
    Object.assign(this, { view, unit });
    this.choice.querySelector('select').value = view;
    this.redraw();
  }

  redraw() {
    this.chart?.destroy();
    this.chart = null;
    this.tree = makeTree(this.profile, this.view, this.unit);
    this.box.replaceChildren();
    this.tell();
    if (this.tree.v === 0) {
      this.box.append(nothing(`Nothing to show: ${VIEWS[this.view][0].toLowerCase()} is empty.`));
      return;
    }
    this.width = this.box.clientWidth;
    this.chart = this.makeChart();
    select(this.box).datum(this.tree).call(this.chart);
    if (this.term) this.find(this.term);
    if (this.marked !== null) this.drawMark();
  }

  makeChart() {
    return flamegraph()
      .width(this.width)
      .cellHeight(20)
      .inverted(true)
      .transitionDuration(0)
      .minFrameSize(LEAST_PX)
      .resetHeightOnZoom(true)
      .sort((a, b) => b.data.v - a.data.v)
      .setLabelHandler((node) => this.describe(node))
      .setColorMapper((node) => this.color(node))
      .setDetailsHandler((text) => this.tell(text))
      .setSearchMatch((node, term) => node.data.n.toLowerCase().includes(term))
      .setSearchHandler((results, sum, total) => this.tellFound(results, sum, total))
      .onClick(() => this.drawMark());
  }

  tell(text) {
    const sampled = this.profile.estimated
      ? ' Amounts are estimates, from a sample of the allocations.'
      : '';
    this.details.textContent =
      text || this.tree.v === 0
        ? (text ?? '')
        : `${VIEWS[this.view][0]}: ${this.amount(this.tree.v)}. Click a frame to zoom.${sampled}`;
  }

  tellFound(results, sum, total) {
    this.found.textContent =
      results.length === 0
        ? 'not found'
        : `${plural(results.length, 'frame')}, ${this.amount(sum)} (${percent(sum, total)})`;
  }

  find(term) {
    this.term = term.trim().toLowerCase();
    if (!this.chart) return;
    if (this.term) {
      this.chart.search(this.term);
    } else {
      this.chart.clear();
      this.found.textContent = '';
    }
    this.drawMark();
  }

  reset() {
    this.marked = null;
    this.search.value = '';
    this.find('');
    this.chart?.resetZoom();
    this.drawMark();
  }

  // Marks a stack, in a view that has it; zooms where its innermost frame would be too narrow.
  highlight(stack, view) {
    this.marked = stack;
    if (nodesOf(this.tree, this.profile, stack).length === 0) this.show({ view });
    if (!this.chart) return;
    const path = nodesOf(this.tree, this.profile, stack);
    this.chart.resetZoom();
    if (path.length > 0 && (this.width * path.at(-1).v) / this.tree.v < 40)
      this.zoomTo(path.at(-1));
    this.drawMark();
  }

  zoomTo(node) {
    const [root] = select(this.box).data();
    const found = root.find((one) => one.data === node);
    if (found) this.chart.zoomTo(found);
  }

  unmark() {
    this.marked = null;
    this.drawMark();
  }

  drawMark() {
    const path =
      this.marked === null ? null : new Set(nodesOf(this.tree, this.profile, this.marked));
    select(this.box).classed('searching', this.term !== '');
    select(this.box)
      .selectAll('g')
      .classed('marked', (node) => path !== null && path.has(node.data))
      .classed('found', (node) => node.highlight);
  }

  resize() {
    if (!this.chart || this.box.clientWidth === this.width || this.box.clientWidth === 0) return;
    this.width = this.box.clientWidth;
    this.chart.width(this.width).update();
    this.drawMark();
  }

  key(event) {
    const current = this.current?.isConnected ? this.current : this.box.querySelector('g.frame');
    if (event.key === 'Escape') this.reset();
    else if (event.key === 'Enter') current?.dispatchEvent(new MouseEvent('click'));
    else if (event.key.startsWith('Arrow')) this.move(current, event.key);
    else return;
    event.preventDefault();
  }

  move(current, key) {
    if (!current) return;
    const frames = [...this.box.querySelectorAll('g.frame')];
    const node = select(current).datum();
    const level = frames
      .filter((g) => select(g).datum().depth === node.depth)
      .sort((a, b) => select(a).datum().x0 - select(b).datum().x0);
    const at = level.indexOf(current);
    const next =
      {
        ArrowUp: () => frames.find((g) => select(g).datum() === node.parent),
        ArrowDown: () => frames.find((g) => select(g).datum().parent === node),
        ArrowLeft: () => level[at - 1],
        ArrowRight: () => level[at + 1],
      }[key]() ?? current;
    current.classList.remove('current');
    next.classList.add('current');
    next.scrollIntoView({ block: 'nearest' });
    this.current = next;
    this.tell(this.describe(select(next).datum()));
  }
}
