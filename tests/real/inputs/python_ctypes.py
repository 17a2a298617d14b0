# ctypes: callbacks, structures, qsort of libc, buffers, strings that libc makes.
import ctypes
import hashlib
import sys

libc = ctypes.CDLL(None)
libc.strdup.restype = ctypes.c_void_p
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.realloc.restype = ctypes.c_void_p
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


class Pair(ctypes.Structure):
    _fields_ = [('left', ctypes.c_void_p), ('size', ctypes.c_size_t)]


def sort_with_callback(count):
    numbers = (ctypes.c_int * count)(*[(i * 7919) % count for i in range(count)])
    libc.qsort(numbers, count, ctypes.sizeof(ctypes.c_int), COMPARE(lambda a, b: a[0] - b[0]))
    return list(numbers) == sorted(numbers)


def blocks_in_structures(count):
    """The only references to the blocks are in C memory of ctypes."""
    pairs = (Pair * count)()
    for i in range(count):
        pairs[i].size = 16 + i % 500
        pairs[i].left = libc.malloc(pairs[i].size)
        ctypes.memset(pairs[i].left, i % 256, pairs[i].size)
    digest = hashlib.sha256()
    for i in range(count):
        pairs[i].left = libc.realloc(pairs[i].left, pairs[i].size + 100)
        digest.update(ctypes.string_at(pairs[i].left, pairs[i].size))
        libc.free(pairs[i].left)
    return digest.hexdigest()


rounds = int(sys.argv[1])
for _ in range(rounds):
    print(sort_with_callback(3000), blocks_in_structures(5000))
    for i in range(2000):
        block = libc.strdup(b'text %d' % i)
        assert ctypes.string_at(block) == b'text %d' % i
        libc.free(block)
