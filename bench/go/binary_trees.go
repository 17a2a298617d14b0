// binary_trees.go -- bench/binary_trees.c in Go; see there for the question. One goroutine.
//
//	binary_trees [DEPTH=20]

package main

import (
	"fmt"
	"os"
	"time"
)

const leastDepth = 4

type bush struct {
	left, right *bush
}

func bushNew(depth uint64) *bush {
	if depth == 0 {
		return &bush{}
	}
	return &bush{bushNew(depth - 1), bushNew(depth - 1)}
}

func (b *bush) count() uint64 {
	if b.left == nil {
		return 1
	}
	return 1 + b.left.count() + b.right.count()
}

func verify(b *bush, depth uint64) {
	if b.count() != 2<<depth-1 {
		die("a tree is not what was built")
	}
}

func main() {
	most := argCount(1, 20)
	fmt.Fprintln(os.Stderr, "built")
	begin := time.Now()
	verify(bushNew(most+1), most+1)
	longLived := bushNew(most)
	for depth := uint64(leastDepth); depth <= most; depth += 2 {
		for i := uint64(1) << (most - depth + leastDepth); i > 0; i-- {
			verify(bushNew(depth), depth)
		}
	}
	verify(longLived, most)
	took := time.Since(begin)
	fmt.Fprintln(os.Stderr, "done")
	report("binary_trees", "time", float64(took)/1e6, "ms")
	report("binary_trees", "peak_rss", statusKib("VmHWM:"), "KiB")
}
