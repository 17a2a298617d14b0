# A repository with branches and merges, cloned, packed and checked. Dates and names are fixed.
set -eu
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
when=1600000000
commit() {
    when=$((when + 60))
    GIT_AUTHOR_DATE="$when +0000" GIT_COMMITTER_DATE="$when +0000" git commit -q -m "$1"
}
git init -q -b main origin
cd origin
git config gc.auto 0
for i in $(seq 1 "$1"); do
    mkdir -p "dir$((i % 5))"
    seq "$i" $((i * 40 + 300)) > "dir$((i % 5))/file$i.txt"
    seq 1 "$i" >> common.txt
    git add .
    commit "commit $i"
done
git checkout -q -b side HEAD~5
echo side > side.txt
git add . && commit side
git checkout -q main
GIT_AUTHOR_DATE="1700000000 +0000" GIT_COMMITTER_DATE="1700000000 +0000" git merge -q -m merge side
GIT_COMMITTER_DATE="1700000000 +0000" git tag -a -m tagged v1
cd ..
git clone -q --no-local origin copy
cd copy
git config gc.auto 0
git config pack.threads 2
git rev-parse HEAD v1
git log -p --stat | sha256sum
git blame common.txt | sha256sum
git grep -c 17 | sort | sha256sum
git diff HEAD~8 HEAD | sha256sum
git gc -q --prune=now
git repack -q -adf --window=20
git fsck --full --strict
git rev-list --objects --all | sort | sha256sum
git archive --format=tar HEAD | sha256sum
git checkout -q -b work HEAD~3
seq 5 900 > common.txt
git stash -q
git stash pop -q
git status --short
git checkout -q -f common.txt
seq 5 900 > other.txt
git add .
commit other
GIT_COMMITTER_DATE="1700000001 +0000" git rebase -q main
git rev-parse HEAD
git checkout -q main
git ls-files -s | sha256sum
git format-patch -q -o patches HEAD~4
cat patches/* | sha256sum
cd ..
git -C origin pull -q ../copy main
git -C origin count-objects
