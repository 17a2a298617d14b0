# Leaks blocks of libc through ctypes; prints whether resident memory stayed below a bound.
#   python_leak.py COUNT SIZE BOUND_MEGABYTES
import ctypes
import sys

count, size, bound = (int(argument) for argument in sys.argv[1:])
malloc = ctypes.CDLL(None).malloc
malloc.restype = None           # the pointer is dropped by ctypes itself
malloc.argtypes = [ctypes.c_size_t]
for _ in range(count):
    malloc(size)
with open('/proc/self/status', encoding='ascii') as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM')) // 1024
print('bounded' if peak <= bound else f'peak {peak} MB for {count * size >> 20} MB leaked')
