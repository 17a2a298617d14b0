// pause.go -- bench/pause.c in Go; see there for the question and the figures.
//
//	pause [SECONDS=20] [MIB=1024] [DIRTY_MB=100] [LEAK_MB=100] [sleep|spin]

package main

import (
	"runtime"
	"syscall"
	"time"
)

var (
	tree           *live
	heartbeat, gap histogram
	begin, end     time.Time
	dirtied, lost  uint64
	behind         time.Duration
)

// The same system call as in C: Go's own timers would measure Go's scheduler.
func sleepUntil(due time.Time) {
	for d := time.Until(due); d > 0; d = time.Until(due) {
		t := syscall.NsecToTimespec(int64(d))
		syscall.Nanosleep(&t, nil)
	}
}

func beat(over chan bool) {
	runtime.LockOSThread()
	for due := begin; due.Before(end); due = due.Add(tick) {
		sleepUntil(due)
		heartbeat.add(time.Since(due))
	}
	over <- true
}

func gapNote(before time.Time) time.Time {
	now := time.Now()
	gap.add(now.Sub(before))
	return now
}

func workDue(start time.Time, dirtyMb, leakMb float64, rng *random) time.Time {
	dirty, lose := paceDue(start.Sub(begin), dirtyMb), paceDue(start.Sub(begin), leakMb)
	now := start
	for now.Before(end) && (dirtied < dirty || lost < lose) {
		if dirtied < dirty {
			dirtied += tree.swap(rng) * page
		}
		now = gapNote(now)
		if lost < lose {
			lost += messageLose(rng)
		}
		now = gapNote(now)
	}
	if took := now.Sub(start); took > behind {
		behind = took
	}
	return now
}

func mutate(dirtyMb, leakMb float64, spin bool) {
	rng, now, due := random(6), begin, begin
	for now.Before(end) {
		if spin {
			now = gapNote(now)
		} else {
			sleepUntil(due)
			now = time.Now()
		}
		if !now.Before(due) {
			now = workDue(now, dirtyMb, leakMb, &rng)
			due = due.Add(tick * (now.Sub(due)/tick + 1))
		}
	}
}

func main() {
	runtime.LockOSThread()
	seconds, mib := argCount(1, 20), argCount(2, 1024)
	dirtyMb, leakMb := float64(argCount(3, 100)), float64(argCount(4, 100))
	tree = liveBuild(mib, 4)
	runtime.GC()
	markBuilt()
	begin = time.Now().Add(tick)
	end = begin.Add(time.Duration(seconds) * time.Second)
	over := make(chan bool)
	go beat(over)
	sleepUntil(begin)
	mutate(dirtyMb, leakMb, argWord(5, "sleep") == "spin")
	took := time.Since(begin).Seconds()
	<-over
	markDone()

	heartbeat.report("pause.heartbeat")
	gap.report("pause.gap")
	report("pause.tick", "longest", float64(behind)/1e3, "us")
	report("pause", "dirtied", float64(dirtied)/1e6/took, "MB/s")
	report("pause", "lost", float64(lost)/1e6/took, "MB/s")
	report("pause", "resident", statmMb(), "MB")
	report("pause", "peak_rss", statusKib("VmHWM:"), "KiB")
	tree.verify()
}
