"""devtools.py -- a headless Chromium, steered through the DevTools protocol over two pipes.

    with Browser() as browser:
        tab = browser.open('file:///…', width=1400, height=900, dark=False)
        tab.wait('document.body.dataset.ready === "yes"')
        tab.value('document.title')
        tab.problems        console errors, exceptions, requests other than the page itself

No port is opened: messages go through descriptors 3 and 4 (--remote-debugging-pipe), a JSON text
and a zero byte each. Every wait has an end.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE = 60


class BrowserError(Exception):
    """The browser is not there, has ended, or does not answer."""


def find_chromium():
    return shutil.which('chromium') or shutil.which('chromium-browser')


class Browser:
    def __init__(self, *flags):
        self.flags = flags
        self.number = 0
        self.buffer = b''
        self.tabs = {}

    def __enter__(self):
        self.home = tempfile.mkdtemp(prefix='gcmalloc-page-')
        down, self.write_end = os.pipe()
        self.read_end, up = os.pipe()
        # Numbers out of the way of 3 and 4, at which the browser looks.
        high = [os.dup2(fd, 100 + i) for i, fd in enumerate((down, up))]
        command = [find_chromium(), '--headless=new', '--no-sandbox', '--disable-gpu',
                   '--no-first-run', '--hide-scrollbars', '--disable-dev-shm-usage',
                   '--disable-background-networking', '--disable-component-update',
                   '--disable-sync', '--remote-debugging-pipe', f'--user-data-dir={self.home}',
                   *self.flags, 'about:blank']
        environment = {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD'}
        environment.update(HOME=self.home, LC_ALL='C.UTF-8', TZ='UTC')
        self.process = subprocess.Popen(
            ['/bin/bash', '-c', 'exec "$@" 3<&100 4>&101 100<&- 101>&-', 'bash'] + command,
            pass_fds=high, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (down, up, *high):
            os.close(fd)
        return self

    def __exit__(self, *_):
        try:
            self.call('Browser.close')
        except (BrowserError, OSError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        shutil.rmtree(self.home, ignore_errors=True)

    def receive(self, until):
        """The next message; None: `until` has come."""
        while b'\0' not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.read_end], [], [], left)[0]:
                return None
            piece = os.read(self.read_end, 1 << 20)
            if not piece:
                raise BrowserError('the browser has ended')
            self.buffer += piece
        text, _, self.buffer = self.buffer.partition(b'\0')
        message = json.loads(text)
        tab = self.tabs.get(message.get('sessionId'))
        if tab and 'method' in message:
            tab.note(message['method'], message['params'])
        return message

    def call(self, method, session=None, **params):
        self.number += 1
        number = self.number
        message = {'id': number, 'method': method, 'params': params}
        if session:
            message['sessionId'] = session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self.write_end, data):]
        until = time.monotonic() + PATIENCE
        while (answer := self.receive(until)) is not None:
            if answer.get('id') == number:
                if 'error' in answer:
                    raise BrowserError(f'{method}: {answer["error"]["message"]}')
                return answer['result']
        raise BrowserError(f'{method}: no answer in {PATIENCE} s')

    def open(self, url, width=1400, height=900, dark=False):
        return Tab(self, url, width, height, dark)


class Tab:
    def __init__(self, browser, url, width, height, dark):
        self.browser = browser
        self.problems = []
        self.url = url
        target = browser.call('Target.createTarget', url='about:blank')['targetId']
        self.target = target
        self.session = browser.call('Target.attachToTarget', targetId=target,
                                    flatten=True)['sessionId']
        browser.tabs[self.session] = self
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.call('Emulation.setEmulatedMedia',
                  features=[{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.call('Page.navigate', url=url)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def note(self, method, params):
        if method == 'Runtime.exceptionThrown':
            details = params['exceptionDetails']
            self.problems.append(details.get('exception', {}).get('description', details['text']))
        elif method == 'Runtime.consoleAPICalled':
            if params['type'] not in ('error', 'warning', 'assert'):
                return
            self.problems.append(' '.join(str(one.get('value', one.get('description')))
                                          for one in params['args']))
        elif method == 'Log.entryAdded' and params['entry']['level'] in ('error', 'warning'):
            self.problems.append(params['entry']['text'])
        elif method == 'Network.requestWillBeSent':
            url = params['request']['url']
            if url not in (self.url, 'about:blank'):
                self.problems.append(f'a request: {url[:80]}')

    def value(self, expression):
        answer = self.call('Runtime.evaluate', expression=expression, returnByValue=True,
                           awaitPromise=True)
        if 'exceptionDetails' in answer:
            exception = answer['exceptionDetails'].get('exception', {})
            raise BrowserError(f'{expression}: {exception.get("description")}')
        return answer['result'].get('value')

    def wait(self, expression):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.value(f'Boolean({expression})'):
                return True
            self.browser.receive(time.monotonic() + 0.05)
        return False

    def settle(self):
        """Two frames later what was asked for is drawn."""
        self.value('new Promise((done) => '
                   'requestAnimationFrame(() => requestAnimationFrame(() => done())))')

    def point(self, selector):
        """The middle of an element, scrolled into view."""
        box = self.value(f'''(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center"}}); const b = e.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()''')
        self.settle()
        return box

    def mouse(self, kind, x, y, **more):
        self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, **more)

    def click(self, selector):
        x, y = self.point(selector)
        self.drag(x, y, x, y)

    def drag(self, x, y, to_x, to_y):
        self.mouse('mouseMoved', x, y)
        self.mouse('mousePressed', x, y, button='left', buttons=1, clickCount=1)
        if (x, y) != (to_x, to_y):
            self.mouse('mouseMoved', (x + to_x) / 2, (y + to_y) / 2, button='left', buttons=1)
            self.mouse('mouseMoved', to_x, to_y, button='left', buttons=1)
        self.mouse('mouseReleased', to_x, to_y, button='left', clickCount=1)
        self.settle()

    def type(self, selector, text):
        self.value(f'document.querySelector({json.dumps(selector)}).focus()')
        self.call('Input.insertText', text=text)
        self.settle()

    def press(self, key, code=0):
        self.call('Input.dispatchKeyEvent', type='keyDown', key=key, windowsVirtualKeyCode=code,
                  **({'text': '\r'} if key == 'Enter' else {}))
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key, windowsVirtualKeyCode=code)
        self.settle()

    def screenshot(self, path, whole=True):
        picture = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=whole)
        with open(path, 'wb') as out:
            out.write(base64.b64decode(picture['data']))

    def close(self):
        self.browser.call('Target.closeTarget', targetId=self.target)
