//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// memoryFaults leave the engine or the appliance too little memory.
var memoryFaults = []fault{
	{"engine: little memory, large flushes", false, littleEngineMemory},
	{"appliance: little memory", false, littleMemory},
}

// littleEngineMemory gives the engine the least memory that it may have, and
// flushes that are as large as they get.
func littleEngineMemory(l *lab) {
	const entries = 60_000 // of each log
	l.adjust = func(c map[string]any) {
		c["engine"] = map[string]any{"library": l.library, "memory": "512MiB"}
		c["flush"] = map[string]any{"rows": 1_000_000, "bytes": "512MiB", "interval": "20s"}
		c["wal"] = map[string]any{"segment-size": "16MiB"}
	}
	for range 12 {
		l.grow(entries / 12)
	}
	began := time.Now()
	l.run()
	said := ""
	l.await("all is delivered", 200*time.Millisecond, 3*crashPatience, func() bool {
		if st, ok := l.status(); ok && st.Delivery.Trouble != "" && !strings.Contains(said, "MEMORY_LIMIT") {
			said = st.Delivery.Trouble
		}
		return l.deliveredAll()
	})
	l.back = time.Since(began)
	st, _ := l.status()
	l.settle()
	l.injected = fmt.Sprintf("engine.memory 512MiB, flushes of up to 1,000,000 rows; %d inserts failed", st.Delivery.InsertErrors)
	if l.said = said; said == "" {
		l.said = "nothing"
	}
}

// littleMemory gives the appliance less memory than its queues want.
func littleMemory(l *lab) {
	l.env = append(l.env, "GOMEMLIMIT=48MiB")
	l.adjust = func(c map[string]any) {
		c["flush"] = map[string]any{"rows": 20_000, "interval": "1s"}
		c["wal"] = map[string]any{"segment-size": "16MiB"}
	}
	l.grow(20_000)
	began := time.Now()
	l.run()
	l.await("all is delivered", 200*time.Millisecond, 3*crashPatience, l.deliveredAll)
	l.back = time.Since(began)
	peak := "?"
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.app.pid())); err == nil {
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		peak, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
	}
	l.settle()
	l.injected, l.said = "GOMEMLIMIT=48MiB", "nothing; resident at most "+peak
}
