# Threads with a queue, a thread pool, subprocesses, a process pool by fork, asyncio.
import asyncio
import concurrent.futures
import hashlib
import multiprocessing
import queue
import subprocess
import sys
import threading
import zlib

rounds = int(sys.argv[1])


def work(number):
    data = bytearray()
    for i in range(300):
        data += str(number * i).encode() * (i % 7)
    return hashlib.md5(zlib.decompress(zlib.compress(bytes(data)))).hexdigest()


def consumer(tasks, results, lock):
    while (number := tasks.get()) is not None:
        value = work(number)
        with lock:
            results[number] = value


def by_queue():
    tasks, results, lock = queue.Queue(50), {}, threading.Lock()
    threads = [threading.Thread(target=consumer, args=(tasks, results, lock)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(100 * rounds):
        tasks.put(number)
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        thread.join()
    return hashlib.md5(repr(sorted(results.items())).encode()).hexdigest()


def short_threads():
    seen = []
    for number in range(50 * rounds):
        thread = threading.Thread(target=lambda n=number: seen.append(work(n % 10)))
        thread.start()
        thread.join()
    return len(seen), len(set(seen))


async def coroutine(number):
    await asyncio.sleep(0)
    return sum(range(number))


async def gather():
    return sum(await asyncio.gather(*(coroutine(n) for n in range(300 * rounds))))


async def subprocess_output():
    process = await asyncio.create_subprocess_exec('echo', 'from asyncio',
                                                   stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0]


def main():
    print(by_queue())
    print(short_threads())
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        print(hashlib.md5(''.join(pool.map(work, range(60 * rounds))).encode()).hexdigest())
    for _ in range(4):
        print(subprocess.run(['sh', '-c', 'cat | tr a-z A-Z'], input=b'text ' * 2000,
                             stdout=subprocess.PIPE, check=True).stdout[:20])
    with multiprocessing.get_context('fork').Pool(2) as pool:
        print(hashlib.md5(''.join(pool.map(work, range(40))).encode()).hexdigest())
        pool.close()
        pool.join()
    print(asyncio.run(gather()), asyncio.run(subprocess_output()))


main()
