package report

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ctappliance/ingest"
	"ctappliance/store/engine"
)

// Status is what the appliance says of itself: the pipeline's status,
// the engine's, and what can be seen around them. It travels as JSON.
type Status struct {
	ingest.Status
	Engine *engine.Status          `json:"engine,omitempty"`
	Oldest float64                 `json:"oldest_undelivered"` // seconds that the oldest record has waited for the store; 0 if none waits, -1 if unknown
	Disk   Disk                    `json:"disk"`
	Memory memoryStatus            `json:"memory"`
	Recent map[string]recentStatus `json:"recent,omitempty"` // by log ID: requests of the last half hour to an hour
	Lists  []List                  `json:"lists,omitempty"`
}

// Disk is the file system of the data directory.
type Disk struct {
	Free   int64   `json:"free"`   // bytes that this account may still write; 0 with Size 0: unknown
	Size   int64   `json:"size"`   // bytes
	Growth float64 `json:"growth"` // bytes per second by which Free shrinks, over Window; may be negative
	Window float64 `json:"window"` // seconds over which Growth was measured; 0: not yet
	Lasts  float64 `json:"lasts"`  // seconds until Free is 0 at this growth; -1: unknown, or it does not shrink
}

// memoryStatus is what the processes hold, in bytes; 0 is unknown.
type memoryStatus struct {
	Appliance int64 `json:"appliance"`
	Engine    int64 `json:"engine,omitempty"`
}

// recentStatus counts requests to a log's host lately.
type recentStatus struct {
	Requests uint64 `json:"requests"`
	Refusals uint64 `json:"refusals"`
}

// List is one source of logs.
type List struct {
	Name     string    `json:"name"`
	From     string    `json:"from"`              // URL or file
	Version  string    `json:"version,omitempty"` // as the list says
	At       time.Time `json:"at,omitzero"`       // the list's own timestamp
	Read     time.Time `json:"read,omitzero"`     // when it was last fetched, or found unchanged; zero: never in this data directory
	Signed   bool      `json:"signed"`            // its signature was checked
	Logs     int       `json:"logs"`              // entries that it has
	Followed int       `json:"followed"`          // of them
	Error    string    `json:"error,omitempty"`   // why the last refresh failed; the copy of before is used
	ErrorAt  time.Time `json:"error_at,omitzero"`
}

// Reporter makes the status of a running appliance. What takes time to see, it
// samples: how fast the disk fills, how long a record has waited, how many
// requests were refused lately.
type Reporter struct {
	Dir      string
	Pipeline func() ingest.Status
	Engine   *engine.Engine // nil for a server of the user's
	Lists    func() []List  // may be nil

	mu    sync.Mutex
	disk  []diskSample
	marks []walMark
	grain time.Duration // least distance of marks
	eras  [2]era        // the older one is what Recent counts from
}

type diskSample struct {
	at   time.Time
	free int64
}

// walMark says that all records before next were written by then.
type walMark struct {
	at   time.Time
	next uint64
}

// era is a moment with what the pacers had counted by then.
type era struct {
	at    time.Time
	hosts map[string]recentStatus
}

const (
	sampleEvery = 2 * time.Second
	diskEvery   = time.Minute
	diskSamples = 6 * 60           // six hours
	diskWindow  = 10 * time.Minute // of samples before growth is anything but noise
	maxMarks    = 1000
	eraLength   = 30 * time.Minute
)

// Run samples until ctx ends.
func (r *Reporter) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		free, _, err := DiskSpace(r.Dir)
		r.sample(time.Now(), free, err == nil, r.Pipeline())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample notes how things are now. free counts if known.
func (r *Reporter) sample(now time.Time, free int64, known bool, st ingest.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.disk); known && (n == 0 || now.Sub(r.disk[n-1].at) >= diskEvery) {
		r.disk = append(r.disk, diskSample{now, free})
		if len(r.disk) > diskSamples {
			r.disk = r.disk[1:]
		}
	}
	switch n := len(r.marks); {
	case n > 0 && r.marks[n-1].next >= st.WAL.NextSeq:
		r.marks[n-1].at = now // nothing was written since
	case n == 0 || now.Sub(r.marks[n-1].at) >= r.grain:
		r.marks = append(r.marks, walMark{now, st.WAL.NextSeq})
	}
	// Only the newest mark at or below what is delivered tells something.
	delivered := st.WAL.NextSeq - st.WAL.Undelivered
	for len(r.marks) > 1 && r.marks[1].next <= delivered {
		r.marks = r.marks[1:]
	}
	if len(r.marks) == 1 {
		r.grain = 0
	}
	if len(r.marks) > maxMarks { // the store has been away for hours: coarser will do
		r.grain = max(2*r.grain, 2*sampleEvery)
		thin := r.marks[:0]
		for i, m := range r.marks {
			if i%2 == 0 || i == len(r.marks)-1 {
				thin = append(thin, m)
			}
		}
		r.marks = thin
	}
	if r.eras[1].hosts == nil || now.Sub(r.eras[1].at) >= eraLength {
		next := era{at: now, hosts: map[string]recentStatus{}}
		for _, l := range st.Logs {
			if l.Pace != nil {
				next.hosts[l.ID] = recentStatus{l.Pace.Requests, l.Pace.Refusals}
			}
		}
		r.eras = [2]era{r.eras[1], next}
	}
}

// Status is the present state.
func (r *Reporter) Status() Status {
	st := Status{Status: r.Pipeline()}
	if r.Engine != nil {
		es := r.Engine.Status()
		st.Engine = &es
		st.Memory.Engine = resident(es.PID)
	}
	st.Memory.Appliance = resident(os.Getpid())
	if r.Lists != nil {
		st.Lists = r.Lists()
	}
	free, size, err := DiskSpace(r.Dir)
	if err == nil {
		st.Disk.Free, st.Disk.Size = free, size
	}
	r.judge(time.Now(), &st)
	return st
}

// judge adds to a status what follows from the samples.
func (r *Reporter) judge(now time.Time, st *Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Disk.Lasts = -1
	if n := len(r.disk); n > 1 && r.disk[n-1].at.Sub(r.disk[0].at) >= diskWindow {
		st.Disk.Window = r.disk[n-1].at.Sub(r.disk[0].at).Seconds()
		st.Disk.Growth = -slope(r.disk)
		if st.Disk.Growth > 0 && st.Disk.Size > 0 {
			st.Disk.Lasts = math.Round(float64(st.Disk.Free) / st.Disk.Growth)
		}
	}
	st.Oldest = -1
	switch delivered := st.WAL.NextSeq - min(st.WAL.Undelivered, st.WAL.NextSeq); {
	case st.WAL.Undelivered == 0:
		st.Oldest = 0
	case len(r.marks) > 0 && r.marks[0].next > delivered:
		st.Oldest = max(0, now.Sub(st.Since).Seconds()) // of before the first sample: at least since the start
	case len(r.marks) > 0:
		// It was written after the last mark that does not have it.
		i := 0
		for i+1 < len(r.marks) && r.marks[i+1].next <= delivered {
			i++
		}
		st.Oldest = max(0, now.Sub(r.marks[i].at).Seconds())
	}
	base := r.eras[0].hosts
	if base == nil {
		base = map[string]recentStatus{} // the first era counts from the start
	}
	st.Recent = map[string]recentStatus{}
	for _, l := range st.Logs {
		if l.Pace == nil {
			continue
		}
		was := base[l.ID]
		if was.Requests > l.Pace.Requests || was.Refusals > l.Pace.Refusals {
			was = recentStatus{} // a new pacer
		}
		st.Recent[l.ID] = recentStatus{l.Pace.Requests - was.Requests, l.Pace.Refusals - was.Refusals}
	}
}

// slope is the least-squares change of free space, in bytes per second: single
// samples jump with every segment that is trimmed and every merge.
func slope(samples []diskSample) float64 {
	var t, y, tt, ty float64
	n := float64(len(samples))
	for _, s := range samples {
		x, v := s.at.Sub(samples[0].at).Seconds(), float64(s.free-samples[0].free)
		t, y, tt, ty = t+x, y+v, tt+x*x, ty+x*v
	}
	d := n*tt - t*t
	if d <= 0 {
		return 0
	}
	return (n*ty - t*y) / d
}

// DiskSpace returns how many bytes the file system of dir has left for us, and
// how many it has in all.
func DiskSpace(dir string) (free, size int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}

// resident returns the memory that a process holds, in bytes; 0 if unknown.
func resident(pid int) int64 {
	if pid == 0 {
		return 0
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
