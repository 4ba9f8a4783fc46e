package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/ingest"
)

// display is what a screen of the status may look like.
type display struct {
	width  int // columns
	rows   int // lines to show at most; 0: all
	colour bool
}

const (
	minColumns  = 100 // narrower ones wrap
	fileColumns = 160 // where nobody says how wide it is
)

// displayOf asks the terminal, if out is one, and COLUMNS in the environment
// otherwise.
func displayOf(out io.Writer) display {
	width, rows, terminal := ColumnsOf(out)
	d := display{width: fileColumns, rows: rows}
	if width > 0 {
		d.width = max(width, minColumns)
	}
	d.colour = terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return d
}

// ColumnsOf says how wide out is, and how high where it is a terminal; 0 is
// unknown.
func ColumnsOf(out io.Writer) (width, rows int, terminal bool) {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		terminal = true
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w, h, true
		}
	}
	if w, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && w > 0 && w < 10_000 {
		width = w
	}
	return width, 0, terminal
}

// shade is how a line stands out.
type shade int

const (
	unshaded shade = iota
	bold
	yellow
	red
)

var shades = [...]string{bold: "\x1b[1m", yellow: "\x1b[33m", red: "\x1b[31m"}

// screen collects lines. What it prints of them is printable, whatever they
// quote.
type screen struct{ lines []screenLine }

type screenLine struct {
	text  string
	shade shade
}

func (s *screen) add(sh shade, format string, args ...any) {
	s.lines = append(s.lines, screenLine{plain.OnScreen(fmt.Sprintf(format, args...)), sh})
}

// print writes the lines; before each end of line it writes eol.
func (s *screen) print(out io.Writer, d display, eol string) error {
	var b strings.Builder
	for _, l := range s.lines {
		if d.colour && l.shade != unshaded {
			b.WriteString(shades[l.shade] + l.text + "\x1b[0m" + eol + "\n")
			continue
		}
		b.WriteString(l.text + eol + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Print is the screen that people look at.
func Print(out io.Writer, st *Status) error {
	d := displayOf(out)
	return statusScreen(st, time.Now(), d.width).print(out, d, "")
}

// statusScreen draws the status as of now: the whole above, then the logs, what
// needs attention first, then what is wrong in words.
func statusScreen(st *Status, now time.Time, width int) *screen {
	s := &screen{}
	logs := slices.Clone(st.Logs)
	slices.SortStableFunc(logs, func(a, b ingest.LogStatus) int {
		return cmp.Or(cmp.Compare(attention(&a, now), attention(&b, now)), cmp.Compare(a.Operator, b.Operator), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	s.head(st, now)
	s.add(unshaded, "")
	more := s.table(st, logs, now, width)
	s.add(unshaded, "")
	s.audit(st)
	s.words(logs, now)
	if more > 0 {
		s.add(unshaded, "and %d more logs with errors; --json has all", more)
	}
	for _, a := range st.Alarms {
		s.add(red, "ALARM %s", plain.Printable(a))
	}
	return s
}

// attention ranks a log: the smaller, the sooner somebody should look.
func attention(l *ingest.LogStatus, now time.Time) int {
	switch {
	case l.Halted != "":
		return 0
	case l.Risk != "":
		return 1
	case away(l, now):
		return 2
	case !l.Heads.BehindSince.IsZero() || l.Audit != nil && (l.Audit.Missing > 0 || l.Audit.Doubled > 0):
		return 3
	case l.State == "following" || l.State == "retrying":
		return 4
	case l.State == "waiting":
		return 5
	case l.State == "done" || l.State == "closed":
		return 7
	}
	return 6
}

// awayAfter is for how long a log must not have shown a head to be away: that
// a request is refused now and then is nothing to look at.
const awayAfter = 10 * time.Minute

// away reports whether a log does not answer, and has not for a while.
func away(l *ingest.LogStatus, now time.Time) bool {
	return l.State == "retrying" && now.Sub(l.Polled) > awayAfter
}

func Behind(l *ingest.LogStatus) uint64 { return l.Wanted - min(l.Delivered, l.Wanted) }

// head draws what concerns all logs.
func (s *screen) head(st *Status, now time.Time) {
	if st.Running {
		alarms, sh := "", bold
		if n := len(st.Alarms); n > 0 {
			alarms, sh = fmt.Sprintf("; ALARMS: %d, see below", n), red
		}
		s.add(sh, "running   pid %d, since %s (%s); %s%s", st.PID, st.Since.In(now.Location()).Format("2006-01-02 15:04:05"), plain.Brief(ago(now, st.Since)), states(st.Logs, now), alarms)
	} else {
		s.add(yellow, "stopped   figures as of the last flush; %s", states(st.Logs, now))
	}
	line, sh := fmt.Sprintf("wal       %s in %d segments", plain.Bytes(st.WAL.Bytes), st.WAL.Segments), unshaded
	if st.WAL.Budget > 0 {
		line += fmt.Sprintf(", %s of its budget of %s", plain.Share(uint64(max(0, st.WAL.Bytes)), uint64(st.WAL.Budget)), plain.Bytes(st.WAL.Budget))
	}
	if st.Running {
		line += fmt.Sprintf("; %s records undelivered", plain.Count(st.WAL.Undelivered))
		if st.WAL.Undelivered > 0 && st.Oldest >= 0 {
			line += fmt.Sprintf(", the oldest for %s", plain.Brief(st.Oldest))
		}
	}
	if st.WAL.Stalled != "" {
		line, sh = line+", FETCHING WAITS: "+plain.Printable(st.WAL.Stalled), red
	}
	s.add(sh, "%s", line)
	if st.Running {
		line, sh = fmt.Sprintf("delivery  %s rows since start, %s/s", plain.Count(st.Delivery.Rows), plain.PerSecond(st.Delivery.Rate)), unshaded
		if !st.Delivery.Last.IsZero() {
			line += fmt.Sprintf(", last %s ago", plain.Brief(ago(now, st.Delivery.Last)))
		}
		if st.Delivery.InsertErrors > 0 {
			line += fmt.Sprintf(", %s insert errors, %s rows inserted again", plain.Count(st.Delivery.InsertErrors), plain.Count(st.Delivery.Reinserted))
		}
		if st.Delivery.Trouble != "" {
			line, sh = line+", WAITS: "+plain.Printable(st.Delivery.Trouble), red
		}
		s.add(sh, "%s", line)
	}
	s.store(st)
	s.disk(&st.Disk)
	if m := st.Memory; m.Appliance > 0 {
		line = "memory    " + plain.Bytes(m.Appliance)
		if m.Engine > 0 {
			line += fmt.Sprintf(", and %s of the engine", plain.Bytes(m.Engine))
		}
		s.add(unshaded, "%s", line)
	}
	for _, l := range st.Lists {
		s.list(&l, now)
	}
}

// states counts the logs by state, those that need attention first.
func states(logs []ingest.LogStatus, now time.Time) string {
	type group struct{ rank, n int }
	groups := map[string]*group{}
	for i := range logs {
		g := groups[logs[i].State]
		if g == nil {
			g = &group{rank: attention(&logs[i], now)}
			groups[logs[i].State] = g
		}
		g.rank, g.n = min(g.rank, attention(&logs[i], now)), g.n+1
	}
	var names []string
	for name := range groups {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(groups[a].rank, groups[b].rank), cmp.Compare(a, b))
	})
	line := fmt.Sprintf("%d logs", len(logs))
	if len(logs) == 1 {
		line = "1 log"
	}
	for i, name := range names {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		line += fmt.Sprintf("%s%d %s", sep, groups[name].n, plain.Printable(name))
	}
	return line
}

func (s *screen) store(st *Status) {
	e := st.Engine
	if e == nil {
		return
	}
	line, sh := fmt.Sprintf("store     embedded engine %s, %s at %s", plain.Printable(e.Version), e.State, plain.Printable(e.URL)), unshaded
	if e.PID != 0 {
		line += fmt.Sprintf(", pid %d", e.PID)
	} else {
		sh = yellow
	}
	if e.Restarts > 0 {
		line += fmt.Sprintf(", restarts: %d", e.Restarts)
		if e.LastError != "" {
			line += ", the last because of " + plain.Printable(e.LastError)
		}
	}
	s.add(sh, "%s", line)
	if note := setAside(st); note != "" {
		s.add(yellow, "          %s", note)
	}
}

func (s *screen) disk(d *Disk) {
	if d.Size == 0 {
		return
	}
	line, sh := fmt.Sprintf("disk      %s of %s free", plain.Bytes(d.Free), plain.Bytes(d.Size)), unshaded
	switch {
	case d.Window == 0:
		line += ", how long it lasts is not known yet"
	case d.Lasts < 0:
		line += fmt.Sprintf(", did not shrink in the last %s", plain.Brief(d.Window))
	default:
		line += fmt.Sprintf(", shrinks by %s a day (seen over %s): lasts %s", plain.Bytes(int64(min(d.Growth*86400, 1<<62))), plain.Brief(d.Window), plain.Brief(d.Lasts))
		if d.Lasts < defaultThresholds().diskLasts.Seconds() && d.Window >= shortWindow.Seconds() {
			sh = yellow
		}
	}
	s.add(sh, "%s", line)
}

func (s *screen) list(l *List, now time.Time) {
	line, sh := "list      "+plain.Printable(plain.First(l.Name, l.From)), unshaded
	if l.Version != "" {
		line += " " + plain.Printable(l.Version)
	}
	if !l.At.IsZero() {
		line += " of " + l.At.UTC().Format(time.DateOnly)
	}
	if l.Signed {
		line += ", signed"
	}
	if !l.Read.IsZero() {
		line += fmt.Sprintf(", read %s ago", plain.Brief(ago(now, l.Read)))
	}
	line += fmt.Sprintf(": %d of %d logs followed", l.Followed, l.Logs)
	if l.Error != "" {
		line, sh = line+"; NOT REFRESHED: "+plain.Printable(l.Error), yellow
	}
	s.add(sh, "%s", line)
}

// maxErrors is how many last errors have a line of their own, below their
// log's, where that one has no room.
const maxErrors = 10

// table draws a line per log and one for all. It returns how many logs have
// errors that it could not show.
func (s *screen) table(st *Status, logs []ingest.LogStatus, now time.Time, width int) (more int) {
	const names, last = 0, 12
	rows := [][]string{{"log", "kind", "state", "head", "verified", "delivered", "behind", "lag", "entries/s", "ETA", "limit/s", "refused", "last error"}}
	var total ingest.LogStatus
	var recent recentStatus
	unknown := false // the lag of one that is behind
	for i := range logs {
		l := &logs[i]
		r, known := st.Recent[l.ID]
		if !known && l.Pace != nil {
			r = recentStatus{l.Pace.Requests, l.Pace.Refusals}
		}
		recent.Requests, recent.Refusals = recent.Requests+r.Requests, recent.Refusals+r.Refusals
		left := plain.Brief(l.ETA)
		if l.ETA == 0 {
			left = "now"
		}
		rows = append(rows, []string{"", plain.Printable(l.Kind), plain.Printable(l.State), plain.Count(l.Head), plain.Count(l.Verified), plain.Count(l.Delivered), plain.Count(Behind(l)),
			plain.Brief(l.Lag), plain.PerSecond(l.Rate), left, limit(l), plain.Share(r.Refusals, r.Requests), lastError(l, now)})
		total.Head += l.Head
		total.Verified += l.Verified
		total.Delivered += l.Delivered
		total.Wanted += l.Wanted
		total.Rate += l.Rate
		if total.Lag = max(total.Lag, l.Lag); l.Lag < 0 && Behind(l) > 0 {
			unknown = true
		}
		if total.ETA = max(total.ETA, l.ETA); l.ETA < 0 {
			total.ETA = math.Inf(1)
		}
	}
	if len(logs) > 1 {
		left := plain.Brief(total.ETA)
		if total.ETA == 0 {
			left = "now"
		} else if math.IsInf(total.ETA, 1) {
			left = "?"
		}
		lag := plain.Brief(total.Lag)
		if unknown {
			lag = "?"
		}
		rows = append(rows, []string{"", "", "", plain.Count(total.Head), plain.Count(total.Verified), plain.Count(total.Delivered), plain.Count(Behind(&total)),
			lag, plain.PerSecond(total.Rate), left, "", plain.Share(recent.Refusals, recent.Requests), ""})
	}
	widths := make([]int, last)
	rest, gap := width, 2
	measure := func() {
		rest = width
		for i := names + 1; i < last; i++ {
			widths[i] = 0
			for _, row := range rows {
				widths[i] = max(widths[i], len(row[i]))
			}
			rest -= widths[i]
		}
	}
	// Names get what they want, up to 40, then the gaps, then the errors. Where
	// it is narrow, headings give way first.
	wanted := len("log")
	for _, n := range shortNames(logs, 40) {
		wanted = max(wanted, len(n))
	}
	measure()
	if rest-2*(last-1) < wanted {
		gap = 1
	}
	if rest-gap*(last-1) < wanted {
		copy(rows[0], []string{"log", "kind", "state", "head", "verif", "deliv", "behind", "lag", "rate", "ETA", "limit", "refus"})
		measure()
	}
	rest -= gap * (last - 1)
	widths[names] = max(min(wanted, rest), 12)
	rest -= widths[names] + gap
	withErrors, told := rest >= 24, 0
	for i, n := range shortNames(logs, widths[names]) {
		rows[i+1][names] = n
	}
	if len(logs) > 1 {
		rows[len(rows)-1][names] = plain.Cut(fmt.Sprintf("all %d", len(logs)), widths[names])
	}
	for i, row := range rows {
		var b strings.Builder
		for c := range last {
			if c > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			format := "%*s"
			if c <= 2 {
				format = "%-*s"
			}
			fmt.Fprintf(&b, format, widths[c], row[c])
		}
		if withErrors && row[last] != "" {
			b.WriteString(strings.Repeat(" ", gap) + plain.Cut(row[last], rest))
		}
		sh := unshaded
		switch {
		case i == 0 || i > len(logs):
			sh = bold
		case attention(&logs[i-1], now) <= 1:
			sh = red
		case attention(&logs[i-1], now) <= 3:
			sh = yellow
		}
		s.add(sh, "%s", strings.TrimRight(b.String(), " "))
		if withErrors || i == 0 || i > len(logs) || row[last] == "" || logs[i-1].Halted != "" || logs[i-1].LastError == "" {
			continue // of halted logs the words tell; a wait is no error
		}
		if told++; told > maxErrors {
			more++
			continue
		}
		s.add(sh, "  last error %s", row[last])
	}
	return more
}

// limit is the rate, in requests per second, that the log's host allows, as far
// as it was found.
func limit(l *ingest.LogStatus) string {
	switch {
	case l.Pace == nil:
		return "-"
	case l.Pace.Limit > 0:
		return plain.PerSecond(l.Pace.Limit)
	case l.Pace.Startup:
		return "none"
	}
	return plain.PerSecond(l.Pace.Rate)
}

// lastError is what went wrong with a log lately, in few words.
func lastError(l *ingest.LogStatus, now time.Time) string {
	switch {
	case l.Halted != "":
		return plain.Printable(l.Halted)
	case l.LastError != "" && (l.State == "retrying" || ago(now, l.ErrorAt) < 3600):
		return plain.Brief(ago(now, l.ErrorAt)) + " ago: " + plain.Printable(l.LastError)
	case l.Pace != nil && l.Pace.Frozen > time.Second:
		return "refused, asked again in " + plain.Brief(l.Pace.Frozen.Seconds())
	}
	return ""
}

// words says what is wrong with logs.
func (s *screen) words(logs []ingest.LogStatus, now time.Time) {
	for i := range logs {
		l := &logs[i]
		if l.Halted != "" {
			s.add(red, "HALTED %s: %s", plain.Printable(l.Name), plain.Printable(l.Halted))
			if l.Evidence != "" {
				s.add(unshaded, "  what it sent is kept in %s; after looking at it, 'run --resume-halted' goes on", plain.QuotePath(l.Evidence))
			}
			continue
		}
		if l.Risk != "" {
			s.add(red, "RISK %s: %s", plain.Printable(l.Name), plain.Printable(l.Risk))
		}
		if since := l.Heads.BehindSince; !since.IsZero() {
			s.add(yellow, "%s: shows smaller heads than it signed before, since %s", plain.Printable(l.Name), since.In(now.Location()).Format("2006-01-02 15:04:05"))
		}
	}
}

// setAside says that the engine has put parts away that it could not read. An
// insert that was cut off leaves such parts too, and then nothing is missing.
func setAside(st *Status) string {
	if st.Engine == nil || st.Engine.SetAside == 0 {
		return ""
	}
	first := ""
	if len(st.Engine.Broken) > 0 {
		first = ", " + plain.Printable(st.Engine.Broken[0]) + " first"
	}
	return fmt.Sprintf("%d broken parts were set aside%s; 'ctappliance verify' says whether rows are missing, --repair fetches them again", st.Engine.SetAside, first)
}

// verdict is the audits' verdict over all logs.
func verdict(logs []ingest.LogStatus) (all ingest.Verdict, audited int) {
	for i := range logs {
		v := logs[i].Audit
		if v == nil {
			continue
		}
		all.Error = plain.First(all.Error, v.Error)
		all.Problems = append(all.Problems, v.Problems...)
		if v.At.IsZero() {
			continue
		}
		audited++
		all.Entries += v.Entries
		all.Missing += v.Missing
		all.Doubled += v.Doubled
		all.Found += v.Found
		all.Tiles += v.Tiles
		all.At = Latest(all.At, v.At)
	}
	return all, audited
}

// audit draws the audits' verdict.
func (s *screen) audit(st *Status) {
	all, audited := verdict(st.Logs)
	if audited == 0 {
		s.add(unshaded, "audit     none in this life yet; 'ctappliance verify' makes one")
	} else {
		sh := unshaded
		if all.Missing > 0 || all.Doubled > 0 {
			sh = red
		}
		s.add(sh, "audit     %s entries of %d logs, %s missing, %s doubled, %s tiles fetched again; proven at %s", plain.Count(all.Entries), audited,
			plain.Count(all.Missing), plain.Count(all.Doubled), strconv.Itoa(all.Tiles), all.At.UTC().Format(time.RFC3339))
		if mended := all.Found - min(all.Missing+all.Doubled, all.Found); mended > 0 {
			s.add(unshaded, "          %s entries were missing or doubled since start and have been mended", plain.Count(mended))
		}
	}
	for i, p := range all.Problems {
		if i == 5 {
			s.add(yellow, "          and %d more; --json has all", len(all.Problems)-i)
			break
		}
		s.add(yellow, "          %s", plain.Printable(p))
	}
	if all.Error != "" {
		s.add(yellow, "          could not be carried through: %s", plain.Printable(all.Error))
	}
}
