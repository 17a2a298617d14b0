// live.go -- bench/live.h and bench/histogram.h in Go: the same tree, messages, pace and report.
//
// Built by scripts/bench from lists of files, without a module: see there.

package main

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"time"
)

const (
	page         = 4096
	messageParts = 8
	partLeast    = 32
	partMost     = 1024
	tick         = time.Millisecond
)

type node struct {
	left, right *node
	payload     [6]float64 // [0] is the serial, [1] counts writes
}

type live struct {
	root  *node
	count uint64
}

type message struct {
	next *message
	text []byte
}

type random uint64

// SplitMix64, as in bench.h.
func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func (r *random) below(bound uint64) uint64 {
	return (r.next() >> 32) * bound >> 32
}

// ---- the tree

func liveBuild(mib uint64, rng random) *live {
	count := (mib << 20) / 64
	nodes := make([]*node, 2*count+2)
	for i := uint64(1); i <= count; i++ {
		nodes[i] = &node{payload: [6]float64{float64(i), 0, 0.25, 0.125, 1e9, 3.14}}
	}
	for i := count; i > 1; i-- {
		j := 1 + rng.below(i)
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	for i := uint64(1); i <= count; i++ {
		nodes[i].left, nodes[i].right = nodes[2*i], nodes[2*i+1]
	}
	return &live{nodes[1], count}
}

func (l *live) at(position uint64) *node {
	n := l.root
	for depth := bits.Len64(position) - 1; depth > 0 && n != nil; {
		depth--
		if position>>uint(depth)&1 != 0 {
			n = n.right
		} else {
			n = n.left
		}
	}
	return n
}

// Two random nodes of one depth exchange their left subtrees.
func (l *live) swap(rng *random) uint64 {
	position := 1 + rng.below(l.count)
	level := uint64(1) << uint(bits.Len64(position)-1)
	a, b := l.at(position), l.at(level+rng.below(level))
	if a == nil || b == nil {
		return 0
	}
	a.left, b.left = b.left, a.left
	a.payload[1]++
	b.payload[1]++
	return 2
}

func (n *node) sum() (count uint64, serials float64) {
	for ; n != nil; n = n.right {
		c, s := n.left.sum()
		count += c + 1
		serials += s + n.payload[0]
	}
	return count, serials
}

func (l *live) verify() {
	count, serials := l.root.sum()
	if count != l.count || serials != float64(count)*float64(count+1)/2 {
		die("the heap is not what was built")
	}
}

// ---- messages

func messageNew(rng *random) *message {
	var first *message
	for i := 0; i < messageParts; i++ {
		size := partLeast + rng.below(partMost-partLeast+1)
		m := &message{first, make([]byte, size-16)}
		for k := range m.text {
			m.text[k] = byte(size)
		}
		first = m
	}
	return first
}

// Lost as soon as it was read.
func messageLose(rng *random) uint64 {
	total := uint64(0)
	for m := messageNew(rng); m != nil; m = m.next {
		size := uint64(len(m.text)) + 16
		if m.text[len(m.text)-1] != byte(size) {
			die("a message is not what was written")
		}
		total += size
	}
	return total
}

func paceDue(elapsed time.Duration, mbPerS float64) uint64 {
	return uint64(float64(elapsed) * mbPerS / 1000)
}

// ---- histogram

const bucketsLog = 5

type histogram struct {
	count, most uint64
	buckets     [40 << bucketsLog]uint64
}

func histogramIndex(ns uint64) int {
	if ns < 1<<bucketsLog {
		return int(ns)
	}
	octave := uint(bits.Len64(ns) - 1 - bucketsLog)
	index := int(octave+1)<<bucketsLog + int(ns>>octave) - 1<<bucketsLog
	if index >= 40<<bucketsLog {
		index = 40<<bucketsLog - 1
	}
	return index
}

func histogramValue(index int) float64 {
	if index < 1<<bucketsLog {
		return float64(index)
	}
	octave := uint(index>>bucketsLog - 1)
	return (float64(index&(1<<bucketsLog-1)+1<<bucketsLog) + 0.5) * float64(uint64(1)<<octave)
}

func (h *histogram) add(d time.Duration) {
	ns := uint64(d)
	h.buckets[histogramIndex(ns)]++
	h.count++
	if ns > h.most {
		h.most = ns
	}
}

func (h *histogram) quantile(q float64) float64 {
	wanted, seen := uint64(float64(h.count)*q), uint64(0)
	for i, n := range h.buckets {
		seen += n
		if seen > wanted {
			if v := histogramValue(i); v < float64(h.most) {
				return v
			}
			break
		}
	}
	return float64(h.most)
}

func (h *histogram) report(name string) {
	report(name, "count", float64(h.count), "count")
	report(name, "p50", h.quantile(0.5)/1000, "us")
	report(name, "p99", h.quantile(0.99)/1000, "us")
	report(name, "p99.9", h.quantile(0.999)/1000, "us")
	report(name, "max", float64(h.most)/1000, "us")
	for i, n := range h.buckets {
		if n != 0 {
			fmt.Printf("histogram %s %.0f %d\n", name, histogramValue(i), n)
		}
	}
}

// ---- arguments and reports

func die(what string) {
	fmt.Fprintln(os.Stderr, "bench:", what)
	os.Exit(2)
}

func argCount(n int, fallback uint64) uint64 {
	if len(os.Args) <= n {
		return fallback
	}
	value, err := strconv.ParseUint(os.Args[n], 0, 64)
	if err != nil || value == 0 {
		die("an argument is not a positive number")
	}
	return value
}

func argWord(n int, fallback string) string {
	if len(os.Args) <= n {
		return fallback
	}
	return os.Args[n]
}

func report(name, metric string, value float64, unit string) {
	fmt.Printf("bench %s %s %.4f %s\n", name, metric, value, unit)
}

// A figure of /proc/self/status in KiB.
func statusKib(key string) float64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range bytes.Split(text, []byte("\n")) {
		if bytes.HasPrefix(line, []byte(key)) {
			value, _ := strconv.ParseFloat(string(bytes.Fields(line)[1]), 64)
			return value
		}
	}
	return 0
}

func statmMb() float64 {
	text, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.ParseFloat(string(bytes.Fields(text)[1]), 64)
	return pages * page / 1e6
}

func markBuilt() {
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	fmt.Fprintln(os.Stderr, "built")
}

func markDone() {
	fmt.Fprintln(os.Stderr, "done")
}
