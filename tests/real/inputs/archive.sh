# tar, xz and zstd, each with two threads, there and back.
set -eu
mkdir tree
for i in $(seq 1 60); do
    mkdir -p "tree/d$((i % 7))"
    seq "$i" $((i * 900)) > "tree/d$((i % 7))/f$i"
done
ln -s d1 tree/link
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf tree.tar tree
xz -T2 -3 --block-size=1MiB -k tree.tar
zstd -q -T2 -8 -B1048576 -k tree.tar
sha256sum tree.tar tree.tar.xz tree.tar.zst
mkdir a b
xz -T2 -dc tree.tar.xz | tar -xf - -C a
zstd -q -dc tree.tar.zst | tar -xf - -C b
diff -r --no-dereference tree a/tree
diff -r --no-dereference tree b/tree
tar -cJf again.tar.xz tree && tar -tJf again.tar.xz | wc -l
tar --zstd -cf again.tar.zst tree && tar --zstd -tf again.tar.zst | wc -l
xz -l --robot tree.tar.xz | cut -f 3-6
