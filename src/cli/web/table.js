// table.js -- a table of any length, a page at a time, sorted by any column.
//
// Only the rows of the page exist as elements, so 20,000 rows cost what 50 do. On paper there is
// more room: PRINTED rows, and how many were left out.
import { count } from './format.js';
import { element } from './dom.js';
import { onPaper } from './paper.js';

const PAGE = 50;
const PRINTED = 200;

const compare = (a, b) =>
  typeof a === 'number' && typeof b === 'number'
    ? a - b
    : String(a ?? '').localeCompare(String(b ?? ''));

// Columns: {title, value(row), text(value, row), numeric, wide, hint}. `open(row)` returns what a
// row unfolds.
export class Table {
  constructor({
    columns,
    rows,
    sort = 0,
    label,
    open = null,
    onopen = () => {},
    onclose = () => {},
  }) {
    Object.assign(this, { columns, rows, label, open, onopen, onclose });
    this.all = rows;
    this.page = 0;
    this.opened = null;
    this.sorted = { column: sort, down: Boolean(columns[sort].numeric) };
    this.size = PAGE;
    this.shown = element('div', { class: 'table' });
    onPaper((printing) => this.resize(printing ? PRINTED : PAGE));
    this.order();
  }

  resize(size) {
    this.page = Math.floor((this.page * this.size) / size);
    this.size = size;
    this.render();
  }

  filter(test) {
    this.rows = this.all.filter(test);
    this.page = 0;
    this.order();
  }

  order() {
    const { column, down } = this.sorted;
    const { value } = this.columns[column];
    const sign = down ? -1 : 1;
    // Each value is asked for once: a name may take a look through a whole stack.
    this.rows = this.rows
      .map((row) => [value(row), row])
      .sort(([a], [b]) => sign * compare(a, b))
      .map(([, row]) => row);
    this.render();
  }

  sortBy(column) {
    const again = this.sorted.column === column;
    this.sorted = {
      column,
      down: again ? !this.sorted.down : Boolean(this.columns[column].numeric),
    };
    this.page = 0;
    this.order();
    this.shown.querySelectorAll('th button')[column].focus();
  }

  turn(page) {
    this.page = page;
    this.render();
    this.shown.scrollIntoView({ block: 'nearest' });
  }

  header() {
    return element(
      'tr',
      {},
      this.columns.map((column, i) => {
        const on = this.sorted.column === i;
        const arrow = element(
          'span',
          { class: 'arrow', 'aria-hidden': 'true' },
          on ? (this.sorted.down ? '▼' : '▲') : '',
        );
        return element(
          'th',
          {
            scope: 'col',
            class: column.numeric ? 'number' : undefined,
            'aria-sort': on ? (this.sorted.down ? 'descending' : 'ascending') : 'none',
          },
          element(
            'button',
            { type: 'button', title: column.hint, onclick: () => this.sortBy(i) },
            // Before the title of numbers, so that it stands above their last digits.
            column.numeric ? arrow : column.title,
            column.numeric ? column.title : arrow,
          ),
        );
      }),
    );
  }

  row(row) {
    const opened = this.opened === row;
    const made = element(
      'tr',
      this.open
        ? {
            class: opened ? 'row opened' : 'row',
            tabindex: 0,
            'aria-expanded': String(opened),
            onclick: () => this.toggle(row),
            onkeydown: (event) => this.key(event, row),
          }
        : {},
      this.columns.map((column) => {
        const value = column.value(row);
        return element(
          'td',
          { class: column.numeric ? 'number' : column.wide ? 'wide' : undefined },
          column.text ? column.text(value, row) : String(value ?? ''),
        );
      }),
    );
    return opened
      ? [
          made,
          element(
            'tr',
            { class: 'detail' },
            element('td', { colspan: this.columns.length }, this.open(row)),
          ),
        ]
      : [made];
  }

  toggle(row) {
    if (String(getSelection())) return; // the click ended a selection of text
    const closing = this.opened === row;
    this.opened = closing ? null : row;
    this.render();
    this.shown.querySelector('tr.opened')?.focus({ preventScroll: true });
    if (closing) this.onclose(row);
    else this.onopen(row);
  }

  key(event, row) {
    const rows = [...this.shown.querySelectorAll('tr.row')];
    const at = rows.indexOf(event.currentTarget);
    if (event.target !== event.currentTarget) return;
    if (event.key === 'Enter' || event.key === ' ') this.toggle(row);
    else if (event.key === 'ArrowDown') rows[at + 1]?.focus();
    else if (event.key === 'ArrowUp') rows[at - 1]?.focus();
    else return;
    event.preventDefault();
  }

  pager() {
    const pages = Math.ceil(this.rows.length / this.size);
    const first = this.page * this.size;
    const last = Math.min(first + this.size, this.rows.length);
    const range =
      this.rows.length === 0
        ? 'none'
        : `${count(first + 1)}–${count(last)} of ${count(this.rows.length)}`;
    const button = (text, label, page) =>
      element(
        'button',
        {
          type: 'button',
          'aria-label': label,
          disabled: page < 0 || page >= pages || page === this.page,
          onclick: () => this.turn(page),
        },
        text,
      );
    return element(
      'div',
      { class: 'pager' },
      element('span', { role: 'status' }, range),
      pages > 1
        ? [
            button('«', 'first page', 0),
            button('‹', 'page before', this.page - 1),
            button('›', 'next page', this.page + 1),
            button('»', 'last page', pages - 1),
          ]
        : [],
    );
  }

  render() {
    const first = this.page * this.size;
    this.shown.replaceChildren(
      element(
        'div',
        { class: 'scroll' },
        element(
          'table',
          { 'aria-label': this.label },
          element('thead', {}, this.header()),
          element(
            'tbody',
            {},
            this.rows.slice(first, first + this.size).map((row) => this.row(row)),
          ),
        ),
      ),
      this.pager(),
    );
  }
}
