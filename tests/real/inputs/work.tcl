# Dictionaries, lists, regular expressions, timers, a pipe to another program.
set size [lindex $argv 0]
set table [dict create]
for {set i 0} {$i < 100000 * $size} {incr i} {
    dict set table k[expr {$i % 3000}] [string repeat x [expr {$i % 50}]]
}
puts [dict size $table]
set list {}
for {set i 0} {$i < 50000} {incr i} {
    lappend list [expr {($i * 7919) % 50021}]
}
puts [lrange [lsort -integer $list] 100 105]
after 50 {set done 1}
vwait done
puts [exec cat << "through a pipe"]
puts [string length [regsub -all {(\d)} [string repeat a1b2 1000] {<\1>}]]
proc fib {n} {expr {$n < 2 ? $n : [fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]}}
puts [fib 18]
set file [open [info script]]
set lines [split [read $file] \n]
close $file
puts [llength $lines]
