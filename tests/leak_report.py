"""leak_report.py -- reads what the library prints: leak reports and gctrace lines."""

import re

GROUP = re.compile(r'^(Direct|Indirect|Reclaimed direct|Reclaimed indirect) leak of '
                   r'(\d+) byte\(s\) in (\d+) object\(s\)')
FRAME = re.compile(r'^\s+#\d+ 0x[0-9a-f]+ ?(.*)$')
SUMMARY = re.compile(r'^SUMMARY: LeakSanitizer: (\d+) byte\(s\) leaked in (\d+) allocation\(s\)')
ROUTINE = re.compile(r'^libgcmalloc: \d+ (byte\(s\) in|more site)')
GCTRACE = re.compile(r'^gc (\d+) @[\d.]+s \d+%: [\d.]+\+[\d.]+\+[\d.]+ ms clock, '
                     r'[\d.]+\+[\d.]+/[\d.]+/[\d.]+\+[\d.]+ ms cpu, '
                     r'(\d+)->(\d+)->(\d+) MB, (\d+) MB goal, '
                     r'\d+ MB stacks, \d+ MB globals, \d+ P( \(forced\))?$')


class Group:
    """Leaks of one allocation stack."""

    def __init__(self, match):
        self.direct = match.group(1) in ('Direct', 'Reclaimed direct')
        self.reclaimed = match.group(1).startswith('Reclaimed')
        self.size = int(match.group(2))
        self.objects = int(match.group(3))
        self.frames = []

    def passes(self, function):
        return any(re.search(r'\b%s\b' % function, frame) for frame in self.frames)


class Report:
    """A whole report: its groups and its summary line (objects, or None)."""

    def __init__(self, text):
        self.groups = []
        self.summary = None
        for line in text.splitlines():
            group, frame, summary = GROUP.match(line), FRAME.match(line), SUMMARY.match(line)
            if group:
                self.groups.append(Group(group))
            elif frame and self.groups:
                self.groups[-1].frames.append(frame.group(1))
            elif summary:
                self.summary = int(summary.group(2))

    def objects_of(self, function, reclaimed=None):
        """Objects allocated under a function; all, or only reclaimed ones, or only those left."""
        return sum(group.objects for group in self.groups if group.passes(function)
                   and reclaimed in (None, group.reclaimed))


def gctrace(text):
    """The cycles of a trace: (number, MB at start, at end, live, goal)."""
    return [tuple(int(field) for field in match.groups()[:5])
            for match in map(GCTRACE.match, text.splitlines()) if match]


def complaints(text):
    """The lines in which the library itself speaks, those that belong to a report left out."""
    return [line for line in text.splitlines()
            if line.startswith('libgcmalloc:') and not ROUTINE.match(line)]
