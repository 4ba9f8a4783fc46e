package ctlogtest

import (
	"fmt"
	"sync"
)

// Stats is what a log has served.
type Stats struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	LogID    string `json:"log_id"` // base64
	Size     uint64 `json:"size"`
	Root     string `json:"root"`      // base64
	HeadTime uint64 `json:"head_time"` // milliseconds since 1970

	Requests map[Class]uint64  `json:"requests"`
	Statuses map[string]uint64 `json:"statuses"` // "data 200"; status 0 is an answer that a fault or the client broke off
	Refused  uint64            `json:"refused"`  // 429 answers
	Bytes    uint64            `json:"bytes"`    // of bodies as sent

	Served      uint64 `json:"served"`    // entries in answers that were sent whole, each time counted
	Distinct    uint64 `json:"distinct"`  // entries served at least once
	Refetched   uint64 `json:"refetched"` // Served - Distinct
	InFlight    int    `json:"in_flight"`
	MaxInFlight int    `json:"max_in_flight"` // data requests at one time

	Faults map[Mode]int `json:"faults"` // how often each struck
}

type counters struct {
	mu       sync.Mutex
	times    []uint8 // per entry, stops at 255
	requests map[Class]uint64
	statuses map[string]uint64
	refused  uint64
	bytes    uint64
	served   uint64
	distinct uint64
	inFlight int
	most     int
}

func (c *counters) init() {
	c.requests, c.statuses = map[Class]uint64{}, map[string]uint64{}
}

// grow makes room for n entries.
func (c *counters) grow(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := uint64(len(c.times)); have < n {
		c.times = append(c.times, make([]uint8, n-have)...)
	}
}

func (c *counters) begin(class Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[class]++
	if class == ClassData {
		c.inFlight++
		c.most = max(c.most, c.inFlight)
	}
}

// end records an answer. Entries [from, to) count as served if it went out
// whole.
func (c *counters) end(class Class, status int, bytes int64, from, to uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if class == ClassData {
		c.inFlight--
	}
	c.statuses[fmt.Sprintf("%s %d", class, status)]++
	if status == 429 {
		c.refused++
	}
	c.bytes += uint64(bytes)
	if status != 200 {
		return
	}
	for i := from; i < min(to, uint64(len(c.times))); i++ {
		if c.times[i] == 0 {
			c.distinct++
		}
		if c.times[i] < 255 {
			c.times[i]++
		}
		c.served++
	}
}

// Served returns how often each entry of [from, to) was served; 255 stands
// for that or more.
func (l *Log) Served(from, to uint64) []uint8 {
	c := &l.count
	c.mu.Lock()
	defer c.mu.Unlock()
	to = min(to, uint64(len(c.times)))
	return append([]uint8(nil), c.times[min(from, to):to]...)
}

// ResetStats forgets what was served so far.
func (l *Log) ResetStats() {
	c := &l.count
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.times)
	clear(c.requests)
	clear(c.statuses)
	c.refused, c.bytes, c.served, c.distinct, c.most = 0, 0, 0, 0, c.inFlight
}

// Stats returns what the log has served so far.
func (l *Log) Stats() Stats {
	size, root, at := l.Head()
	s := Stats{Name: l.o.Name, Kind: l.o.Kind.String(), LogID: b64(l.key.id[:]), Size: size, Root: b64(root[:]), HeadTime: at,
		Requests: map[Class]uint64{}, Statuses: map[string]uint64{}, Faults: l.faults.Fired()}
	c := &l.count
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range c.requests {
		s.Requests[k] = v
	}
	for k, v := range c.statuses {
		s.Statuses[k] = v
	}
	s.Refused, s.Bytes, s.Served, s.Distinct = c.refused, c.bytes, c.served, c.distinct
	s.Refetched = s.Served - s.Distinct
	s.InFlight, s.MaxInFlight = c.inFlight, c.most
	return s
}
