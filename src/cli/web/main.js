// main.js -- the page of `gcmalloc report --html`, made from the profile that is embedded in it.
//
//   profile.js   the data, with sums and joins       format.js, dom.js   words and elements
//   tiles.js     heading and figures                  chart.js            what charts share
//   history.js, pauses.js, flame.js                   the charts
//   table.js     tables, used by sites.js and records.js
//   theme.js, paper.js   dark, light, printed
//
//   .inv.text    Names come from a program that nobody trusts: they become text, never markup.
//   .inv.alone   Nothing is fetched; the policy in page.html forbids it.
import { element } from './dom.js';
import { Flame } from './flame.js';
import { history } from './history.js';
import { pauses } from './pauses.js';
import { Profile } from './profile.js';
import { cycles, records } from './records.js';
import { contradictions, reachable, sites } from './sites.js';
import { themeButton } from './theme.js';
import { heading, notes, tiles } from './tiles.js';
// Last, so that it may overrule what the charts bring.
import './style.css';

function start() {
  const profile = new Profile(JSON.parse(document.getElementById('profile').textContent));
  const flame = new Flame(profile);
  const charts = [history(profile), pauses(profile)];
  const page = document.getElementById('page');
  const links = [
    ['history', 'Over time'],
    ['flame', 'Flame graph'],
    ['sites', 'Sites'],
    ['reachable', 'Still reachable'],
    ['pauses', 'Pauses'],
    ['cycles', 'Cycles'],
    ['figures', 'Totals and options'],
  ];
  const nav = element(
    'nav',
    { 'aria-label': 'parts of the page' },
    links.map(([id, text]) => element('a', { href: `#${id}` }, text)),
  );
  const print = element('button', { type: 'button', onclick: () => window.print() }, 'Print');
  const theme = themeButton(() => {
    charts.forEach((chart) => chart.redraw());
    flame.resize();
  });
  page.append(
    ...[
      heading(profile, theme, print),
      nav,
      notes(profile),
      tiles(profile),
      charts[0].shown,
      flame.shown,
      sites(profile, flame),
      reachable(profile, flame),
      contradictions(profile, flame),
      charts[1].shown,
      cycles(profile),
      records(profile),
    ]
      .flat()
      .filter(Boolean),
  );
  charts.forEach((chart) => chart.redraw());
  flame.redraw();
  document.body.dataset.ready = 'yes';
}

start();
