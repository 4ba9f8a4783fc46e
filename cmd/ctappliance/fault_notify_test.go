//go:build linux

package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// notifyFaults is the one row in which nothing goes wrong: a service manager
// looks on.
var notifyFaults = []fault{{"a service manager looks on", true, watched}}

// watched runs the appliance as systemd would with Type=notify and a watchdog:
// when it says that it is ready it answers, it gives signs of life, says when
// it reloads, and at the end that it stops.
func watched(l *lab) {
	address := filepath.Join(l.dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	l.must(err)
	defer c.Close()
	var mu sync.Mutex
	var heard []string
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			heard = append(heard, string(b[:n]))
			mu.Unlock()
		}
	}()
	said := func(begins string) int {
		mu.Lock()
		defer mu.Unlock()
		return slices.IndexFunc(heard, func(m string) bool { return strings.HasPrefix(m, begins) })
	}
	l.env = append(l.env, "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=1000000")
	l.run()
	l.await("it says that it is ready", time.Millisecond, crashPatience, func() bool { return said("READY=1") >= 0 })
	if _, ok := l.status(); !ok {
		l.t.Error("it says that it is ready and does not answer")
	}
	l.hasDelivered(labEntries)
	l.await("it gives signs of life", 10*time.Millisecond, crashPatience, func() bool { return said("WATCHDOG=1\nSTATUS=2 logs: ") >= 0 })
	if out, err := l.command("reload").Output(); err != nil {
		l.t.Errorf("reload: %v: %s", err, out)
	}
	l.await("it says that it reloads", 10*time.Millisecond, crashPatience, func() bool { return said("RELOADING=1\nMONOTONIC_USEC=") >= 0 })
	l.settle()
	// The appliance is gone; what it has said may still be on its way to us.
	for deadline := time.Now().Add(crashPatience); said("STOPPING=1") < 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if heard[len(heard)-1] != "STOPPING=1" || !strings.HasPrefix(heard[0], "READY=1\nWATCHDOG=1\nSTATUS=") {
		l.t.Errorf("first %q, last %q", heard[0], heard[len(heard)-1])
	}
	if i := slices.IndexFunc(heard, func(m string) bool { return strings.HasPrefix(m, "RELOADING=1") }); !slices.Contains(heard[i:], "READY=1") {
		l.t.Errorf("it did not say that reloading was over: %q", heard[i:])
	}
	l.injected, l.said = "a watchdog of a second", fmt.Sprintf("%d messages", len(heard))
}
