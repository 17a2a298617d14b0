# Arrays, strings, functions, subshells, here-documents, traps, co-processes.
set -u
declare -A table
declare -a list
for ((i = 0; i < $1 * 1000; i++)); do
    old=${table[key$(((i * 7) % 997))]-}
    table[key$((i % 997))]="value $i ${old:0:20}"
    list+=("$i")
done
for i in $(seq 0 996); do printf '%s\n' "${table[key$i]-}"; done | sha256sum
echo "${#list[@]} ${list[*]:100:10}"
joined=$(IFS=,; echo "${list[*]}")
echo "${#joined}"
text=
for word in alpha beta gamma delta; do
    text+="${word^^}-${word//a/o}-${word%a}-${#word};"
done
echo "$text"
fib() { if (($1 < 2)); then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
fib 7
depth() { if (($1 > 0)); then depth $(($1 - 1)); else echo bottom; fi; }
depth 300
for i in $(seq 1 40); do
    x=$(echo "sub $i" | tr a-z A-Z | cat)
    [[ $x =~ ^SUB\ ([0-9]+)$ ]] && echo -n "${BASH_REMATCH[1]} "
done
echo
while read -r a b rest; do
    echo "$b $a ${#rest}"
done <<DOCUMENT
one two three four
five six $(seq -s ' ' 1 200)
DOCUMENT
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
for i in 1 2 3; do
    echo "line $i" >&"${UPPER[1]}"
    read -r answer <&"${UPPER[0]}"
    echo "$answer"
done
exec {UPPER[1]}>&-
trap 'echo caught USR1' USR1
kill -USR1 $$
mapfile -t lines < <(seq 1 5000)
printf '%s\n' "${lines[@]}" | sort -r | head -3
for i in $(seq 1 30); do (exit $((i % 3))); echo -n $?; done
echo
trap 'echo leaving' EXIT
exit 7
