//go:build linux

package bench

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"ctappliance/internal/world"
)

// worldPoint is one line of a soak's time series: values in the order of
// worldColumns.
type worldPoint []float64

// worldColumns are the columns of the time series.
var worldColumns = []string{
	"seconds",        // since the start
	"logs",           // followed
	"behind",         // entries that the followed logs have signed and are not delivered, halted and gone logs not counted
	"behind_max",     // of one log
	"lag_max_s",      // age of the oldest entry that is not delivered, likewise
	"requests",       // that the world has got
	"refused",        // of them with 429
	"delivered",      // entries, since the start
	"rss_mb",         // of the appliance
	"engine_rss_mb",  // of the engine
	"engine_anon_mb", // of it without mapped files
	"goroutines",     // of the appliance
	"wal_mb",         // segments on disk
	"cpu_s",          // of the appliance, user and system
	"engine_cpu_s",   // of the engine
	"world_cpu_s",    // of the logs and of what measures
	"halted",         // logs
	"retrying",       // logs
	"insert_errors",  // of the store
}

func (s *worldSoak) sample(ctx context.Context) worldPoint {
	at := time.Since(s.began).Seconds()
	st, err := s.status(ctx)
	if err != nil {
		s.t.Errorf("after %.0f s: %v", at, err)
		return append(worldPoint{at}, make(worldPoint, len(worldColumns)-1)...)
	}
	var behind, most, lag, halted, retrying float64
	for _, l := range st.Logs {
		switch l.State {
		case "halted":
			halted++
			continue
		case "retrying":
			retrying++
			continue
		}
		n := float64(l.Wanted) - float64(l.Delivered)
		behind += n
		most = max(most, n)
		lag = max(lag, l.Lag)
	}
	asked := s.w.Count()
	cpu := func(pid int) float64 {
		u, err := used(pid)
		if err != nil {
			return 0
		}
		return u.cpu.Seconds()
	}
	rss := func(pid int, name string) float64 { return float64(field(pid, "status", name)) * 1024 / 1e6 }
	pid := s.cmd.Process.Pid
	return worldPoint{at, float64(len(st.Logs)), behind, most, lag, float64(asked.Requests), float64(asked.Refused), float64(st.Delivery.Rows),
		rss(pid, "VmRSS"), rss(st.Engine.PID, "VmRSS"), rss(st.Engine.PID, "RssAnon"), s.gauge("go_goroutines"), float64(st.WAL.Bytes) / 1e6,
		cpu(pid), cpu(st.Engine.PID), cpu(os.Getpid()), halted, retrying, float64(st.Delivery.InsertErrors)}
}

// report prints what was seen, and writes the files.
func (s *worldSoak) report() {
	var b strings.Builder
	last := s.points[len(s.points)-1]
	fmt.Fprintf(&b, "%v in a world of %d logs at %g of the real growth: %.0f entries delivered, %.0f a second\n", worldFor, len(s.w.Logs()), *worldScale, last[7], last[7]/last[0])
	b.WriteString(s.out.String())
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "while the logs grew\tmin\tmedian\tmax\tat the end\t")
	for i, name := range worldColumns {
		values := s.column(i)
		slices.Sort(values)
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t\n", name, number(values[0]), number(values[len(values)/2]), number(values[len(values)-1]), number(last[i]))
	}
	tw.Flush()
	fmt.Fprintln(&b)
	for name, little := range map[string]float64{"rss_mb": 20, "engine_anon_mb": 50, "goroutines": 20} {
		if before, after, grown := s.grown(name, little); grown {
			s.t.Errorf("%s has grown from %.0f to %.0f", name, before, after)
		}
	}
	for _, name := range []string{"rss_mb", "engine_rss_mb", "engine_anon_mb", "goroutines"} {
		fmt.Fprintf(&b, "%s changed by %+.2f a minute over the last 20 minutes in which the logs grew\n", name, s.slope(name, 20*time.Minute)*60)
	}
	fmt.Fprintln(&b)
	tw = tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "host with a limit\tlimit\trequests\theads\trefused\tshare")
	for _, h := range s.w.Hosts() {
		if h.Limit == nil {
			continue
		}
		c := h.Count()
		fmt.Fprintf(tw, "%s\t%g/s, burst %d, %q\t%d\t%d\t%d\t%.2f %%\n", h.Name, h.Limit.Rate, h.Limit.Burst, h.Limit.RetryAfter, c.Requests, c.Heads, c.Refused, 100*float64(c.Refused)/float64(max(1, c.Requests)))
	}
	tw.Flush()
	for _, l := range s.w.Of(world.Gone) {
		fmt.Fprintf(&b, "\n%s does not answer, and was asked %d times since\n", l.Name, l.Count().Lost)
	}
	s.t.Log("\n" + b.String())
	if *worldCSV == "" {
		return
	}
	rows := [][]string{worldColumns}
	for _, p := range s.points {
		var row []string
		for _, v := range p {
			row = append(row, number(v))
		}
		rows = append(rows, row)
	}
	f, err := os.Create(*worldCSV)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer f.Close()
	if err := csv.NewWriter(f).WriteAll(rows); err != nil {
		s.t.Error(err)
	}
	if err := os.WriteFile(strings.TrimSuffix(*worldCSV, ".csv")+".txt", []byte(b.String()), 0o644); err != nil {
		s.t.Error(err)
	}
}

func number(v float64) string { return strconv.FormatFloat(math.Round(100*v)/100, 'f', -1, 64) }

// growing are the points of the time in which the logs grew.
func (s *worldSoak) growing() []worldPoint {
	n := slices.IndexFunc(s.points, func(p worldPoint) bool { return p[0] > worldFor.Seconds() })
	if n < 1 {
		return s.points
	}
	return s.points[:n]
}

func (s *worldSoak) column(i int) []float64 {
	var out []float64
	for _, p := range s.growing() {
		out = append(out, p[i])
	}
	return out
}

// grown says whether a column has grown from the middle third of the soak to
// the last: the medians may differ by a tenth and a little.
func (s *worldSoak) grown(name string, little float64) (before, after float64, grown bool) {
	all := s.column(slices.Index(worldColumns, name))
	n := len(all) / 3
	if n < 30 {
		return 0, 0, false // minutes say nothing
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	before, after = median(all[n:2*n]), median(all[2*n:])
	return before, after, after > before*1.1+little
}

// slope is how much a column grows in a second, by least squares over the last
// while in which the logs grew.
func (s *worldSoak) slope(name string, while time.Duration) float64 {
	points := s.growing()
	i, from := slices.Index(worldColumns, name), points[len(points)-1][0]-while.Seconds()
	var n, x, y, xx, xy float64
	for _, p := range points {
		if p[0] >= from {
			n, x, y, xx, xy = n+1, x+p[0], y+p[i], xx+p[0]*p[0], xy+p[0]*p[i]
		}
	}
	if d := n*xx - x*x; d != 0 {
		return (n*xy - x*y) / d
	}
	return 0
}

// What grows is seen to grow, what only begins high is not, and the time after
// the logs have stopped is left out.
func TestSeries(t *testing.T) {
	was := *worldFor
	defer func() { *worldFor = was }()
	*worldFor = 30 * time.Minute
	s := &worldSoak{}
	for i := range 300 {
		p := make(worldPoint, len(worldColumns))
		p[0] = float64(10 * i)
		if i <= 180 {
			p[slices.Index(worldColumns, "rss_mb")] = 100 + float64(i)
			p[slices.Index(worldColumns, "goroutines")] = 300 + 1000/float64(i+1)
		}
		s.points = append(s.points, p)
	}
	if before, after, grown := s.grown("rss_mb", 20); !grown {
		t.Errorf("from %v to %v", before, after)
	}
	if before, after, grown := s.grown("goroutines", 20); grown || before < 300 {
		t.Errorf("from %v to %v", before, after)
	}
	if got := s.slope("rss_mb", 20*time.Minute); math.Abs(got-0.1) > 1e-9 {
		t.Errorf("%v a second", got)
	}
}
