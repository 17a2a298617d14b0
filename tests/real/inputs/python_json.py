# JSON, dictionaries, classes, regular expressions, big numbers; prints digests only.
import collections
import decimal
import gc
import hashlib
import json
import re
import sys


class Node:
    def __init__(self, depth, key):
        self.key = key
        self.parent = None
        self.children = [Node(depth - 1, key * 3 + i) for i in range(3)] if depth else []
        for child in self.children:
            child.parent = self

    def as_data(self):
        return {'key': self.key, 'children': [c.as_data() for c in self.children]}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


sys.set_int_max_str_digits(0)
rounds = int(sys.argv[1])
for number in range(rounds):
    tree = Node(6, number)
    text = json.dumps(tree.as_data(), indent=1)
    again = json.dumps(json.loads(text), sort_keys=True)
    print(number, digest(text), digest(again))
    del tree
    gc.collect()
    words = re.findall(r'\d+', text)
    counts = collections.Counter(words)
    print(len(words), sorted(counts.items())[:3], digest(' '.join(sorted(words))))
    table = {f'key {i}': [i, str(i) * (i % 40), {'n': i}] for i in range(8000)}
    for i in range(0, 8000, 3):
        del table[f'key {i}']
    print(digest(repr(sorted(table.items()))))
decimal.getcontext().prec = 2000
print(digest(str(decimal.Decimal(2).sqrt())), digest(str(3 ** 20000)))
print(digest(''.join(chr(0x400 + i % 1000) for i in range(100000))))
