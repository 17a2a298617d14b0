"""run_html.py --build DIR [--long] [--screenshots DIR] -- the page of `gcmalloc report --html`.

Without --long: that what html_write makes is one well-formed file in which the profile stands
whole, and which asks for nothing else. With --long it is opened in a headless Chromium, pointed at,
typed into and printed; what it shows is compared with sums over the profile that were made here.
Profiles are made up by page_data.py. Where the command was built without the page (no npm), the one
test is that it says so.
"""

import argparse
import html.parser
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import devtools                                   # noqa: E402
import page_data                                  # noqa: E402
from harness import Tally, run                    # noqa: E402

STATUS_OUTPUT = 10
LARGE = 20000
PROFILES = {
    'small': page_data.profile, 'empty': page_data.empty, 'no-stacks': page_data.no_stacks,
    'sampled': page_data.sampled,
    'hostile': page_data.hostile,
    'large': lambda: page_data.profile(sites=LARGE, seconds=600),
}


class Wrong(Exception):
    """What a test found."""


def expect(good, what):
    if not good:
        raise Wrong(what)


def same(got, wanted, what):
    expect(got == wanted, f'{what}: {got!r}, expected {wanted!r}')


# ---- words of the page, and sums over the profile ------------------------------------------------

def in_bytes(value):
    """format.js's bytes()."""
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB'):
        if value < 1023.5 or unit == 'TiB':
            break
        value /= 1024
    if unit == 'B':
        return f'{value} B'
    return f'{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}'


def amount(entries):
    blocks = sum(one['blocks'] for one in entries)
    size = sum(one['bytes'] for one in entries)
    return f'{size:,} bytes in {blocks:,} block{"" if blocks == 1 else "s"}'


def frame_name(frame):
    return frame.get('function') or f'{os.path.basename(frame["module"])}+{frame["offset"]}'


def found_bytes(profile, term):
    """Bytes of the leaks whose stack has a function with that in its name."""
    return sum(one['bytes'] for one in profile['leaks']
               if any(term in frame_name(frame).lower()
                      for frame in profile['stacks'][str(one['stack'])]))


def site_rows(profile):
    """Of the table of sites: one per stack, kind and state, one per stack without a leak."""
    leaks = profile['leaks']
    quiet = {one['stack'] for one in profile['sites']} - {one['stack'] for one in leaks}
    return len({(one['stack'], one['kind'], one['state']) for one in leaks}) + len(quiet)


# ---- without a browser ---------------------------------------------------------------------------

class Reader(html.parser.HTMLParser):
    """Elements that stay open, references to elsewhere, and the text of the profile's element."""

    EMPTY = {'meta', 'link', 'img', 'br', 'input', 'hr'}
    REFERRING = {'src', 'href', 'srcset', 'data', 'action'}

    def __init__(self):
        super().__init__()
        self.open, self.references, self.problems, self.profiles = [], [], [], []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.references += [f'{tag} {name}' for name, _ in attrs if name in self.REFERRING]
        self.inside = dict(attrs).get('id') == 'profile'
        if self.inside:
            self.profiles.append('')
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.inside = False
        if not self.open or self.open.pop() != tag:
            self.problems.append(f'</{tag}> at line {self.getpos()[0]}')

    def handle_data(self, data):
        if self.inside:
            self.profiles[-1] += data


def check_file(page, profile):
    reader = Reader()
    reader.feed(page)
    reader.close()
    same(reader.problems + reader.open, [], 'elements that do not close')
    same(reader.references, [], 'references')
    same(len(reader.profiles), 1, 'profiles in the page')
    same(json.loads(reader.profiles[0]), profile, 'the profile')
    expect('\u2028' not in page and '\u2029' not in page, 'a line separator is in the page')
    for package in ('uplot', 'd3-flame-graph', 'd3-selection'):
        expect(f'\n{package} ' in page, f'the licence of {package} is not in the page')


# ---- with one ------------------------------------------------------------------------------------

def tile(tab, name):
    return [texts(tab, f'[data-tile={name}] {part}')[0] for part in ('.value', '.more')]


def texts(tab, selector):
    return tab.value(f'[...document.querySelectorAll({json.dumps(selector)})]'
                     '.map((one) => one.textContent)')


def count(tab, selector):
    return tab.value(f'document.querySelectorAll({json.dumps(selector)}).length')


def choose(tab, selector, value):
    tab.value(f'''(() => {{ const e = document.querySelector({json.dumps(selector)});
        e.value = {json.dumps(value)}; e.dispatchEvent(new Event("change")); }})()''')
    tab.settle()


def empty_box(tab, selector):
    tab.value(f'''(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = "";
        e.dispatchEvent(new Event("input")); }})()''')
    tab.settle()


def check_tiles(tab, profile):
    leaks = profile['leaks']
    wanted = {'leaked': leaks, 'remaining': [one for one in leaks if one['state'] == 'remaining'],
              'reclaimed': [one for one in leaks if one['state'] == 'reclaimed'],
              'reachable': profile['reach']}
    for name, entries in wanted.items():
        same(tile(tab, name), [in_bytes(sum(one['bytes'] for one in entries)), amount(entries)],
             f'tile {name}')
    totals = profile['totals']
    same(tile(tab, 'cycles')[0], f'{totals["cycles"]:,}', 'tile cycles')
    same(tile(tab, 'contradictions')[0], f'{totals.get("contradictions", 0):,}',
         'tile contradictions')
    same(tile(tab, 'heap')[0], in_bytes(totals['heap_used']), 'tile heap')
    peak = max([totals['heap_used']] + [one['heap_used'] for one in profile['moments']]
               + [one['heap_before'] for one in profile['cycles']])
    same(tile(tab, 'peak')[0], in_bytes(peak), 'tile peak')
    if totals.get('pause_longest'):
        same(tile(tab, 'pause')[0], f'{totals["pause_longest"] / 1000:.0f} µs', 'tile pause')
    same(tile(tab, 'notes')[0], str(len(profile['notes'])), 'tile notes')


def check_heading(tab, profile):
    process = profile['process']
    same(texts(tab, 'h1'), [process['program']], 'heading')
    facts = ' '.join(texts(tab, '.facts span'))
    for part in (f'process {process["pid"]}', f'user {process["uid"]}', 'at its exit'):
        expect(part in facts, f'{part!r} is not in {facts!r}')
    if profile['notes']:
        same(texts(tab, '.notes li')[:len(profile['notes'])], profile['notes'], 'notes')


def check_stack(tab, profile, frames, what):
    shown = texts(tab, '#sites ol.stack li')
    same(len(shown), len(frames), f'{what}: frames')
    ids = {module['path']: module['build_id'] for module in profile['modules']}
    for text, frame in zip(shown, frames):
        parts = [frame['pc'], frame.get('function', '??'),
                 f'{frame["module"]}+{frame["offset"]} (BuildId: {ids[frame["module"]]})']
        parts += [f'{frame["file"]}:{frame["line"]}:{frame["column"]}'] if 'file' in frame else []
        for part in parts:
            expect(part in text, f'{what}: {part!r} is not in {text!r}')
        same('inlined' in text, frame['inlined'], f'{what}: inlined in {text!r}')


def check_row(tab, profile):
    """The first row is that which leaked most; it opens by click, and by key."""
    def rows_of(leaks):
        groups = {}
        for one in leaks:
            key = one['stack'], one['kind'], one['state']
            groups[key] = groups.get(key, 0) + one['bytes']
        return sorted(groups.items(), key=lambda item: -item[1])
    (stack, kind, state), size = rows_of(profile['leaks'])[0]
    cells = texts(tab, '#sites tr.row:first-child td')
    same(cells[1:4], [kind, state, in_bytes(size)], 'the first row')
    tab.click('#sites tr.row:first-child td:nth-child(4)')
    frames = profile['stacks'][str(stack)]
    check_stack(tab, profile, frames, 'a click on the first row')
    marked = sorted(texts(tab, '#flame g.marked .d3-flame-graph-label') or [])
    same(marked, sorted(['all'] + [frame_name(frame) for frame in frames]),
         'frames marked in the flame graph')
    tab.press('Enter', 13)
    same(count(tab, '#sites ol.stack'), 0, 'stacks after Enter on the open row')
    same(count(tab, '#flame g.marked'), 0, 'marked frames after that')
    tab.value('document.querySelector("#sites tr.row").focus()')
    tab.press('ArrowDown', 40)
    tab.press('Enter', 13)
    (stack, _, _), _ = rows_of(profile['leaks'])[1]
    check_stack(tab, profile, profile['stacks'][str(stack)], 'Enter on the second row')
    tab.press('Enter', 13)


def check_table(tab, profile):
    allocated = sorted((one['allocated_bytes'] for one in profile['sites']), reverse=True)
    tab.click('#sites th:nth-child(8) button')
    same(texts(tab, '#sites tr.row:first-child td')[7], in_bytes(allocated[0]),
         'most allocated, after a click on its column')
    tab.click('#sites th:nth-child(8) button')
    same(texts(tab, '#sites tr.row:first-child td')[7], in_bytes(allocated[-1]),
         'least allocated, after another')
    same(tab.value('document.querySelector("#sites th:nth-child(8)").ariaSort'), 'ascending',
         'aria-sort')
    name = frame_name(profile['stacks']['1'][0])
    with_name = {int(stack) for stack, frames in profile['stacks'].items()
                 if any(name.lower() in frame_name(frame).lower() for frame in frames)}
    tab.type('#sites input', name)
    groups = {(one['stack'], one['kind'], one['state']) for one in profile['leaks']
              if one['stack'] in with_name}
    leaking = {one['stack'] for one in profile['leaks']}
    rows = len(groups) + len([one for one in profile['sites']
                              if one['stack'] in with_name - leaking])
    expect(texts(tab, '#sites .pager span')[0].endswith(f' of {rows:,}'), f'rows with {name}: '
           f'{texts(tab, "#sites .pager span")}, expected {rows}')
    empty_box(tab, '#sites input')
    choose(tab, '#sites label:nth-of-type(1) select', 'indirect')
    expect(set(texts(tab, '#sites tr.row td:nth-child(2)')) == {'indirect'},
           'the choice of a kind shows others')
    choose(tab, '#sites label:nth-of-type(1) select', '')
    tab.click('#sites th:nth-child(4) button')


def check_search(tab, profile):
    name = max(profile['leaks'], key=lambda one: one['bytes'])
    term = frame_name(profile['stacks'][str(name['stack'])][0]).lower()
    same(count(tab, '#flame rect[fill="var(--found)"]'), 0, 'found frames before a search')
    tab.type('#flame input', term)
    found = set(tab.value('[...document.querySelectorAll("#flame g.frame")].filter((g) => '
                          'g.querySelector("rect").getAttribute("fill") === "var(--found)")'
                          '.map((g) => g.getAttribute("name"))'))
    expect(found and all(term in one.lower() for one in found), f'found frames: {found}')
    text = texts(tab, '#flame .found')[0]
    expect(f' {in_bytes(found_bytes(profile, term))} (' in text,
           f'{text!r}, expected {in_bytes(found_bytes(profile, term))}')
    empty_box(tab, '#flame input')
    tab.type('#flame input', 'there is no such function')
    same(texts(tab, '#flame .found'), ['not found'], 'a search for what is not there')
    empty_box(tab, '#flame input')


def frame_width(tab, name):
    return tab.value(f'document.querySelector(`#flame g.frame[name={json.dumps(name)}] rect`)'
                     '?.getBoundingClientRect().width ?? 0')


def check_zoom(tab, _):
    whole = frame_width(tab, 'all')
    names = tab.value('''[...document.querySelectorAll("#flame g.frame")].filter((g) => {
        const { width } = g.querySelector("rect").getBoundingClientRect();
        return width > 60 && width < 0.7 * document.querySelector("#flame .flame").clientWidth;
    }).map((g) => g.getAttribute("name"))''')
    tab.click(f'#flame g.frame[name={json.dumps(names[0])}]')
    expect(abs(frame_width(tab, names[0]) - whole) < 2,
           f'{names[0]} is not as wide as all after a click')
    tab.click('#flame button')
    expect(frame_width(tab, names[0]) < 0.9 * whole,
           f'{names[0]} is as wide as all after the button')
    tab.value('document.querySelector("#flame .flame").focus()')
    for key in ('ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowRight'):
        tab.press(key)
    name = tab.value('document.querySelector("#flame g.current").getAttribute("name")')
    tab.press('Enter', 13)
    expect(abs(frame_width(tab, name) - whole) < 2, f'{name} is not as wide as all after Enter')
    tab.press('Escape', 27)
    expect(frame_width(tab, name) < 0.9 * whole, f'{name} is as wide as all after Escape')


def check_views(tab, profile):
    leaks, sites = profile['leaks'], profile['sites']
    for unit in ('bytes', 'blocks'):
        wanted = {
            'leaked': sum(one[unit] for one in leaks),
            'reachable': sum(one[unit] for one in profile['reach']),
            'remaining': sum(one[unit] for one in leaks if one['state'] == 'remaining'),
            'reclaimed': sum(one[unit] for one in leaks if one['state'] == 'reclaimed'),
            'allocated': sum(one[f'allocated_{unit}'] for one in sites),
            'live': sum(one[f'allocated_{unit}'] - one[f'freed_{unit}'] for one in sites),
        }
        choose(tab, '#flame label:nth-of-type(2) select', unit)
        for view, total in wanted.items():
            choose(tab, '#flame label:nth-of-type(1) select', view)
            text = in_bytes(total) if unit == 'bytes' else f'{total:,} blocks'
            shown = texts(tab, '#flame g.frame[name=all] title')[0]
            same(shown, f'all: {text}, 100.0 % of all', f'{view} by {unit}')
    choose(tab, '#flame label:nth-of-type(2) select', 'bytes')
    choose(tab, '#flame label:nth-of-type(1) select', 'leaked')


def check_sampled(tab, profile):
    """Amounts by site are estimates, and marked; what was counted stands beside them."""
    groups = {}
    for one in profile['leaks']:
        row = groups.setdefault((one['stack'], one['kind'], one['state']), [0, 0])
        row[0] += one['estimated_bytes']
        row[1] += one['bytes']
    estimated, counted = max(groups.values())
    cells = texts(tab, '#sites tr.row:first-child td')
    same((cells[3], cells[5]), (f'≈ {in_bytes(estimated)}', in_bytes(counted)), 'the first row')
    most = max(profile['reach'], key=lambda one: one['estimated_bytes'])
    cells = texts(tab, '#reachable tr.row:first-child td')
    same(cells[1:4], [f'≈ {in_bytes(most["estimated_bytes"])}', f'≈ {most["estimated_blocks"]:,}',
                      in_bytes(most['bytes'])], 'most reachable')
    choose(tab, '#flame label:nth-of-type(1) select', 'leaked')
    total = sum(one['estimated_bytes'] for one in profile['leaks'])
    same(texts(tab, '#flame g.frame[name=all] title')[0], f'all: {in_bytes(total)}, 100.0 % of all',
         'the flame graph')
    tab.click('#sites tr.row:first-child td:nth-child(4)')
    stack = max(groups, key=groups.get)[0]
    frames = [profile['frames'][place][0] for place in profile['stacks'][str(stack)]]
    check_stack(tab, profile, frames, 'a click on the first row')
    expect(any('estimates' in note for note in texts(tab, '.notes li')), 'no note says it')


def time_range(tab):
    return tab.value('(({ from, to }) => [+from, +to])(document.querySelector(".charts").dataset)')


def check_history(tab, profile):
    last = profile['moments'][-1]['time'] / 1e9
    same(time_range(tab), [0, last], 'the time that is shown')
    x, y = tab.point('#history .chart .u-over')
    tab.mouse('mouseMoved', x, y)
    tab.settle()
    values = texts(tab, '#history .chart .u-value')
    expect(len(values) == 7 and '–' not in values,
           f'values under the mouse, in both charts: {values}')
    tab.drag(x - 100, y, x + 100, y)
    start, end = time_range(tab)
    expect(0 < start < end < last, f'after a drag {start} to {end} of {last} is shown')
    tab.value('document.querySelector(".charts").focus()')
    tab.press('0')
    same(time_range(tab), [0, last], 'after 0')
    tab.press('+')
    same(time_range(tab), [last / 4, last * 3 / 4], 'after +')
    tab.press('0')


def check_paper(tab, profile):
    """Paper: light, with more rows, and it can be made."""
    tab.value('dispatchEvent(new Event("beforeprint"))')
    rows = site_rows(profile)
    same(count(tab, '#sites tr.row'), min(200, rows), 'rows on paper')
    same(tab.value('document.documentElement.dataset.theme'), 'light', 'theme on paper')
    widest = tab.value('Math.max(...[...document.querySelectorAll("#history .uplot, #flame svg")]'
                       '.map((one) => one.getBoundingClientRect().width))')
    expect(300 < widest < 720, f'what is drawn is {widest} wide on paper')
    tab.value('dispatchEvent(new Event("afterprint"))')
    same(count(tab, '#sites tr.row'), min(50, rows), 'rows after printing')
    expect(len(tab.call('Page.printToPDF')['data']) > 10000, 'no paper came out')


def check_theme(tab, _):
    def back():
        return tab.value('getComputedStyle(document.body).backgroundColor')

    def chart():
        return tab.value('document.querySelector("canvas").toDataURL()')
    before = back(), chart(), texts(tab, 'button.theme')
    tab.click('button.theme')
    for old, new in zip(before, (back(), chart(), texts(tab, 'button.theme'))):
        expect(old != new, f'the button does not change {old[:20]}')
    tab.click('button.theme')
    same((back(), texts(tab, 'button.theme')), (before[0], before[2]),
         'colours after a second click')


def check_narrow(tab, _):
    tab.call('Emulation.setDeviceMetricsOverride', width=390, height=800, deviceScaleFactor=1,
             mobile=True)
    tab.settle()
    expect(tab.value('document.documentElement.scrollWidth') <= 390,
           'the page is wider than a narrow window')


def check_hostile(tab, profile):
    same(tab.value('typeof window.escaped'), 'undefined', 'window.escaped')
    same(count(tab, 'img'), 0, 'images')
    same(texts(tab, '.command')[0].count('</script>'), 2, 'the command line')
    options = set(texts(tab, '#figures .pair > div:nth-child(2) th'))
    same(options, set(profile['options']), 'names of options')


def check_empty(tab, _):
    same(count(tab, '.nothing'), 6, 'sections that say that there is nothing')
    same(count(tab, 'canvas'), 0, 'charts')


def check_no_stacks(tab, _):
    tab.click('#sites tr.row')
    expect('No stack was recorded' in texts(tab, '#sites .detail')[0],
           'an open row without a stack')
    same(texts(tab, '#flame g.frame:nth-of-type(2) .d3-flame-graph-label'), ['no stack recorded'],
         'the flame graph')


def check_large(tab, profile):
    rows = site_rows(profile)
    same(texts(tab, '#sites .pager span'), [f'1–50 of {rows:,}'], 'rows')
    tab.click('#sites .pager button[aria-label="last page"]')
    expect(texts(tab, '#sites .pager span')[0].endswith(f'–{rows:,} of {rows:,}'), 'the last page')
    check_search(tab, profile)
    check_zoom(tab, profile)
    tab.click('#sites .pager button[aria-label="first page"]')
    check_row(tab, profile)


# Profile, and what is looked at in its page, in this order: the last ones change how it looks.
CHECKS = [
    ('small', check_heading), ('small', check_tiles), ('small', check_row), ('small', check_table),
    ('small', check_search),
    ('small', check_zoom), ('small', check_views), ('small', check_history),
    ('small', check_theme), ('small', check_paper),
    ('small', check_narrow),
    ('empty', check_heading), ('empty', check_tiles), ('empty', check_empty),
    ('no-stacks', check_tiles), ('no-stacks', check_no_stacks),
    ('sampled', check_tiles), ('sampled', check_sampled),
    ('hostile', check_heading), ('hostile', check_hostile), ('hostile', check_tiles),
    ('large', check_tiles), ('large', check_large), ('large', check_paper),
]


def one_test(tally, name, test, *args):
    try:
        test(*args)
        tally.ok(name)
    except (Wrong, devtools.BrowserError, OSError, ValueError, IndexError, KeyError,
            TypeError) as error:
        tally.fail(name, f'{type(error).__name__}: {error}'[:600])


def photograph(browser, url, name, where):
    for dark in (False, True):
        tab = browser.open(url, dark=dark)
        tab.wait('document.body?.dataset.ready === "yes"')
        tab.settle()
        tab.screenshot(os.path.join(where, f'{name}-{"dark" if dark else "light"}.png'))
        tab.close()


def test_in_browser(tally, pages, screenshots):
    with devtools.Browser() as browser:
        for name, (path, profile) in pages.items():
            url = f'file://{path}'
            tab = browser.open(url)
            one_test(tally, f'{name}/opens',
                     lambda tab=tab: expect(tab.wait('document.body?.dataset.ready === "yes"'),
                                            'it does not'))
            for _, check in [one for one in CHECKS if one[0] == name]:
                one_test(tally, f'{name}/{check.__name__[6:]}', check, tab, profile)
            one_test(tally, f'{name}/console', same, tab.problems, [],
                     'what the browser complains of')
            tab.close()
            if screenshots:
                photograph(browser, url, name, screenshots)


def make_page(build, profile):
    text = json.dumps(profile, ensure_ascii=False).encode()
    return run([os.path.join(build, 'tests/cli/html_page')], timeout=60, stdin=text)


def test_without_page(build):
    done = make_page(build, page_data.empty())
    same(done.status, STATUS_OUTPUT, 'status')
    same((done.out, done.err_text.count('\n'), 'there is no page' in done.err_text),
         (b'', 1, True), f'output {done.err_text!r}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', default='build')
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--screenshots')
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    tally = Tally('html')
    if os.path.getsize(os.path.join(build, 'src/cli/page.html')) == 0:
        one_test(tally, 'without-page', test_without_page, build)
        if options.long:
            tally.fail('page', 'it was not built: scripts/build-page says why')
        return tally.exit_status()
    with tempfile.TemporaryDirectory(prefix='gcmalloc-html-') as work:
        pages = {}
        for name, make in PROFILES.items():
            profile = make()
            done = make_page(build, profile)
            path = os.path.join(work, f'{name}.html')
            with open(path, 'wb') as out:
                out.write(done.out)
            one_test(tally, f'{name}/file', check_file, done.out_text, profile)
            pages[name] = path, profile
        if options.long:
            test_in_browser(tally, pages, options.screenshots)
    return tally.exit_status()


sys.exit(main())
