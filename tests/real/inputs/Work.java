// Work.java -- threads, sockets, direct buffers, mappings, zip, children, and every kind of trap that
// HotSpot makes of a signal. Prints only what is the same in every run.

import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.zip.*;

public class Work {
    static final int CLIENTS = 8;

    static void garbage() {
        List<byte[]> keep = new ArrayList<>();
        Random random = new Random(1);
        long sum = 0;
        for (int i = 0; i < 20000; i++) {
            byte[] block = new byte[random.nextInt(4000) + 1];
            keep.add(block);
            if (keep.size() > 500)
                keep.remove(random.nextInt(500));
            sum += block.length;
        }
        System.out.println("garbage " + sum);
    }

    // Each is a block of malloc's, freed by a cleaner after the Java object has died.
    static void directBuffers() {
        List<ByteBuffer> live = new ArrayList<>();
        long hash = 0;
        for (int i = 0; i < 3000; i++) {
            live.add(ByteBuffer.allocateDirect(1000 + i % 5000).putInt(0, i).putInt(996, i * 7));
            if (live.size() > 100) {
                ByteBuffer old = live.remove(i % 100);
                hash = hash * 31 + old.getInt(0) + old.getInt(996);
            }
            if (i % 1000 == 0)
                System.gc();
        }
        for (ByteBuffer buffer : live)
            hash = hash * 31 + buffer.getInt(0) + buffer.getInt(996);
        System.out.println("direct " + hash);
    }

    static void threads() throws Exception {
        ConcurrentHashMap<Integer, String> map = new ConcurrentHashMap<>();
        AtomicLong lengths = new AtomicLong();
        List<Thread> all = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            int first = i * 2000;
            all.add(new Thread(() -> {
                for (int k = 0; k < 2000; k++) {
                    map.put(first + k, "value " + k);
                    lengths.addAndGet(map.get(first + k).length());
                    if (k % 500 == 0)
                        Thread.yield();
                }
            }));
        }
        for (Thread thread : all)
            thread.start();
        for (Thread thread : all)
            thread.join();
        System.out.println("threads " + map.size() + " " + lengths);
    }

    // Echoes until all clients have gone.
    static void serve(ServerSocketChannel listener) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(8192);
        try (Selector selector = Selector.open()) {
            listener.configureBlocking(false);
            listener.register(selector, SelectionKey.OP_ACCEPT);
            for (int gone = 0; gone < CLIENTS;) {
                selector.select();
                for (SelectionKey key : selector.selectedKeys()) {
                    if (key.isAcceptable()) {
                        SocketChannel client = listener.accept();
                        client.configureBlocking(false);
                        client.register(selector, SelectionKey.OP_READ);
                        continue;
                    }
                    SocketChannel client = (SocketChannel) key.channel();
                    if (client.read(buffer.clear()) < 0) {
                        client.close();
                        gone++;
                    }
                    for (buffer.flip(); buffer.hasRemaining();)
                        client.write(buffer);
                }
                selector.selectedKeys().clear();
            }
        } catch (IOException e) {
            e.printStackTrace();
        }
    }

    static long talk(int port, int number) throws IOException {
        long sum = 0;
        byte[] message = new byte[3000];
        try (Socket socket = new Socket("127.0.0.1", port)) {
            DataInputStream in = new DataInputStream(socket.getInputStream());
            for (int i = 0; i < 100; i++) {
                Arrays.fill(message, (byte) (number + i));
                socket.getOutputStream().write(message);
                in.readFully(message);
                for (byte b : message)
                    sum += b;
            }
        }
        return sum;
    }

    static void sockets() throws Exception {
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("127.0.0.1", 0));
        int port = ((InetSocketAddress) listener.getLocalAddress()).getPort();
        Thread server = new Thread(() -> serve(listener));
        server.start();
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> sums = new ArrayList<>();
        for (int i = 0; i < CLIENTS; i++) {
            int number = i;
            sums.add(pool.submit(() -> talk(port, number)));
        }
        long sum = 0;
        for (Future<Long> one : sums)
            sum += one.get();
        server.join();
        pool.shutdown();
        listener.close();
        System.out.println("sockets " + sum);
    }

    static void zip() throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(out)) {
            for (int i = 0; i < 50; i++) {
                byte[] data = new byte[20000];
                new Random(i).nextBytes(data);
                Arrays.fill(data, 0, 10000, (byte) i);
                zip.putNextEntry(new ZipEntry("entry" + i));
                zip.write(data);
            }
        }
        CRC32 crc = new CRC32();
        ZipInputStream in = new ZipInputStream(new ByteArrayInputStream(out.toByteArray()));
        while (in.getNextEntry() != null)
            crc.update(in.readAllBytes());
        System.out.println("zip " + crc.getValue());
    }

    static void children() throws Exception {
        for (int i = 0; i < 5; i++) {
            Process child = new ProcessBuilder("sh", "-c", "echo child " + i + "; exit " + i).start();
            System.out.print(new String(child.getInputStream().readAllBytes()));
            System.out.println(child.waitFor());
        }
    }

    static void mapping() throws IOException {
        try (FileChannel file = FileChannel.open(Paths.get("mapped.bin"), StandardOpenOption.CREATE,
                                                 StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
            long sum = 0;
            for (int i = 0; i < 1 << 20; i += 4096)
                map.putInt(i, i);
            map.force();
            for (int i = 0; i < 1 << 20; i += 4096)
                sum += map.getInt(i);
            System.out.println("mapping " + sum);
        }
    }

    static int deep(int n) {
        return deep(n + 1) + 1;
    }

    static void expect(String name, Runnable action) {
        try {
            action.run();
            System.out.println(name + ": nothing");
        } catch (Throwable e) {
            System.out.println(name + ": " + e.getClass().getSimpleName());
        }
    }

    static void traps() {
        Object nothing = null;
        int[] three = new int[3];
        expect("deep", () -> deep(0));
        expect("null", () -> nothing.hashCode());
        expect("bounds", () -> three[3] = 1);
        expect("zero", () -> three[0] = 1 / three[1]);
        expect("memory", () -> {
            List<long[]> all = new ArrayList<>();
            while (true)
                all.add(new long[1 << 22]);
        });
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < Integer.parseInt(arguments[0]); i++) {
            garbage();
            directBuffers();
            threads();
            sockets();
            zip();
            children();
            mapping();
        }
        traps();
        System.exit(3);
    }
}
