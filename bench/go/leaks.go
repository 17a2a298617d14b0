// leaks.go -- bench/leaks.c in Go; see there for the question and the figures.
//
//	leaks [SECONDS=20] [MIB=1024] [MB_PER_S=100] [lose] [CSV]

package main

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

const (
	samplePeriod = 50 * time.Millisecond
	patience     = 3
)

var (
	tree          *live
	csv           *os.File
	begin         time.Time
	nextSample    time.Time
	done, samples uint64
	late          time.Duration
	residentSum   float64
)

func sample(now time.Time) {
	if now.Before(nextSample) {
		return
	}
	resident := statmMb()
	residentSum += resident
	samples++
	if csv != nil {
		fmt.Fprintf(csv, "%.3f,%.1f,%.1f\n", now.Sub(begin).Seconds(), float64(done)/1e6, resident)
	}
	nextSample = now.Add(samplePeriod)
}

func workUntil(due time.Time, rate float64, rng *random) {
	bytes, now := paceDue(due.Sub(begin), rate), time.Now()
	for done < bytes {
		done += messageLose(rng)
		now = time.Now()
		sample(now)
	}
	if now.Sub(due) > late {
		late = now.Sub(due)
	}
	sample(now)
}

func openCsv(path string) *os.File {
	if path == "" {
		return nil
	}
	file := os.Stdout
	if path != "-" {
		var err error
		if file, err = os.Create(path); err != nil {
			die("the CSV file cannot be written")
		}
	}
	fmt.Fprintln(file, "seconds,lost_mb,resident_mb")
	return file
}

func main() {
	seconds, mib, rng := argCount(1, 20), argCount(2, 1024), random(7)
	rate := float64(argCount(3, 100))
	csv = openCsv(argWord(5, ""))
	tree = liveBuild(mib, 4)
	runtime.GC()
	markBuilt()
	begin = time.Now()
	nextSample = begin
	end := begin.Add(time.Duration(seconds) * time.Second)
	giveUp := begin.Add(patience * time.Duration(seconds) * time.Second)
	for due := begin; !due.After(end) && time.Now().Before(giveUp); due = due.Add(tick) {
		time.Sleep(time.Until(due))
		workUntil(due, rate, &rng)
	}
	took := time.Since(begin).Seconds()
	markDone()
	report("leaks", "rate", float64(done)/1e6/took, "MB/s")
	report("leaks", "late", float64(late)/1e6, "ms")
	report("leaks", "resident", statmMb(), "MB")
	report("leaks", "mean_resident", residentSum/float64(samples), "MB")
	report("leaks", "peak", statusKib("VmHWM:")*1024/1e6, "MB")
	tree.verify()
}
