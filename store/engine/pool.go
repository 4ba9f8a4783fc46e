package engine

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// role says what a user may do.
type role uint8

const (
	roleWriter role = iota // everything
	roleReader             // SELECT and its like, with readonly=1
)

// pool gives out connections of the library. A connection serves one
// statement and is closed: opening one costs half a millisecond, and a new one
// cannot carry over the settings, the current database or the temporary tables
// of whoever had it before, which is how ClickHouse's own HTTP interface
// behaves. The first connection, kept open, is the engine's life.
type pool struct {
	lib  *library
	path string
	keep *conn

	slots   chan struct{} // one per statement that may run
	readers chan struct{} // one per statement of the read-only user: it cannot take all slots

	killing sync.Mutex // guards control
	control *conn      // for KILL QUERY only

	mu      sync.Mutex // guards running and fenced; never held over a call of the library
	running map[uint64]*running
	seq     atomic.Uint64
	fenced  []string // prefixes of query IDs that may not start any more
	boot    string
}

// maxFences bounds the list of fenced prefixes; a caller that is refused can
// still kill the process.
const maxFences = 4096

// running is a statement in progress.
type running struct {
	ID      string    `json:"id"`       // ours, in log_comment
	QueryID string    `json:"query_id"` // the client's
	User    string    `json:"user"`
	Kind    string    `json:"kind"` // "query" or "insert"
	Since   time.Time `json:"since"`
}

func newPool(lib *library, dir, boot string, slots int, args []string) (*pool, error) {
	keep, err := lib.open(append([]string{"--path=" + dir}, args...)...)
	if err != nil {
		return nil, err
	}
	p := &pool{lib: lib, path: dir, keep: keep, slots: make(chan struct{}, slots), readers: make(chan struct{}, max(1, slots/2)), running: map[uint64]*running{}, boot: boot}
	if p.control, err = lib.open("--path=" + dir); err != nil {
		keep.close()
		return nil, err
	}
	return p, nil
}

// close closes what the pool holds. Statements still running keep their own
// connections; the process is about to end.
func (p *pool) close() {
	p.killing.Lock()
	defer p.killing.Unlock()
	p.control.close()
	p.keep.close()
}

// setting is one name=value for a statement.
type setting struct{ name, value string }

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,127}$`)

// lease is a connection for one statement.
type lease struct {
	p    *pool
	c    *conn
	key  uint64
	info *running
	free func() // gives the slots back
}

// acquire waits for a slot and opens a connection with the given database and
// settings. A reader's connection is set to readonly=1 last of all: from then
// on nothing said on it can change a setting, readonly included.
func (p *pool) acquire(ctx context.Context, r role, info running, database string, settings []setting) (*lease, error) {
	need := []chan struct{}{p.slots}
	if r == roleReader {
		need = []chan struct{}{p.readers, p.slots}
	}
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	var free []func()
	undo := func() {
		for _, f := range free {
			f()
		}
	}
	for _, s := range need {
		select {
		case s <- struct{}{}:
			free = append(free, func() { <-s })
		case <-ctx.Done():
			undo()
			return nil, exceptionf(codeTooManyQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "All %d statement slots are busy", cap(s))
		}
	}
	l, err := p.begin(r, info, database, settings)
	if err != nil {
		undo()
		return nil, err
	}
	l.free = undo
	return l, nil
}

// slotWait is how long a statement waits for a slot.
const slotWait = time.Minute

func (p *pool) begin(r role, info running, database string, settings []setting) (*lease, error) {
	key := p.seq.Add(1)
	info.ID = fmt.Sprintf("%s-%d", p.boot, key)
	info.Since = time.Now()
	// In the list before it is in the engine, and in one step with the look at
	// the fences: whoever fences sees it, or it sees the fence.
	p.mu.Lock()
	for _, f := range p.fenced {
		if strings.HasPrefix(info.QueryID, f) {
			p.mu.Unlock()
			return nil, exceptionf(codeQueryCancelled, "QUERY_WAS_CANCELLED", "Statements whose query_id begins with %q may not start any more", f)
		}
	}
	p.running[key] = &info
	p.mu.Unlock()
	c, err := p.lib.open("--path=" + p.path)
	if err == nil {
		if err = prepare(c, r, info.ID, database, settings); err != nil {
			c.close()
		}
	}
	if err != nil {
		p.remove(key)
		return nil, err
	}
	return &lease{p: p, c: c, key: key, info: &info}, nil
}

func (p *pool) remove(key uint64) {
	p.mu.Lock()
	delete(p.running, key)
	p.mu.Unlock()
}

// fence keeps statements whose query_id begins with prefix from starting, for
// the rest of this process's life, and gives those that run.
func (p *pool) fence(prefix string) ([]running, error) {
	if prefix == "" {
		return nil, exceptionf(codeBadArguments, "BAD_ARGUMENTS", "A fence needs a query_id")
	}
	p.mu.Lock()
	known := slices.Contains(p.fenced, prefix)
	if !known && len(p.fenced) < maxFences {
		p.fenced = append(p.fenced, prefix)
		known = true
	}
	p.mu.Unlock()
	if !known {
		return nil, exceptionf(codeTooManyQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "%d fences are set already", maxFences)
	}
	return p.list(prefix), nil
}

func prepare(c *conn, r role, id, database string, settings []setting) error {
	if database != "" {
		if err := c.exec("USE " + quoteIdent(database)); err != nil {
			return err
		}
	}
	// async_insert is on by default in this engine: an acknowledged insert
	// would be one that is in memory. Whoever wants it must ask.
	set := []string{"async_insert=0", "log_comment=" + quoteString(id)}
	for _, s := range settings {
		if !settingName.MatchString(s.name) {
			return exceptionf(115, "UNKNOWN_SETTING", "Setting name %.100q is not one", s.name)
		}
		if s.name == "readonly" || s.name == "log_comment" {
			continue
		}
		set = append(set, s.name+"="+quoteString(s.value))
	}
	if err := c.exec("SET " + strings.Join(set, ", ")); err != nil {
		return err
	}
	ro := ""
	for _, s := range settings {
		if s.name == "readonly" {
			ro = s.value
		}
	}
	if r == roleReader {
		ro = "1"
	}
	if ro != "" {
		return c.exec("SET readonly=" + quoteString(ro))
	}
	return nil
}

// release ends the statement: its connection is closed, then its entry in the
// list of the running goes. In this order, so that whoever sees the entry gone
// knows that the engine call has returned.
func (l *lease) release() {
	l.c.close()
	l.p.remove(l.key)
	l.free()
}

// kill asks the engine to stop the statement; the call that runs it returns
// soon after with code 394. SYNC is never used: with this library it does not
// come back.
func (l *lease) kill() error {
	l.p.killing.Lock()
	defer l.p.killing.Unlock()
	return l.p.control.exec("KILL QUERY WHERE Settings['log_comment'] = " + quoteString(l.info.ID) + " ASYNC")
}

// Pauses between two attempts to kill one statement.
const (
	minKillPause = 10 * time.Millisecond
	maxKillPause = time.Second
)

// endWith has the statement killed when ctx is done: nobody wants it any more.
// It is told so until stop is called, not once, because what the engine has not
// taken in yet it cannot kill, and the statement would then run for ever. stop
// returns when nobody speaks of the statement any more.
func (l *lease) endWith(ctx context.Context, log *slog.Logger) (stop func()) {
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		for pause := minKillPause; ; pause = min(2*pause, maxKillPause) {
			if err := l.kill(); err != nil {
				log.Warn("stopping an abandoned statement", "err", err)
			}
			t := time.NewTimer(pause)
			select {
			case <-over:
				t.Stop()
				return
			case <-t.C:
			}
		}
	}()
	return func() { close(over); <-gone }
}

// list gives the statements whose query_id begins with prefix.
func (p *pool) list(prefix string) []running {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []running{}
	for _, r := range p.running {
		if strings.HasPrefix(r.QueryID, prefix) {
			out = append(out, *r)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Since.Before(out[j].Since) })
	return out
}

// quoteString makes a string literal of s.
func quoteString(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			b.WriteString(`\x` + strconv.FormatUint(uint64(c)+0x100, 16)[1:])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// quoteIdent makes an identifier of s.
func quoteIdent(s string) string {
	q := quoteString(s)
	return "`" + strings.ReplaceAll(q[1:len(q)-1], "`", "\\`") + "`"
}
