package storetest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say what kind of server it is. The zero value is one that accepts
// anybody, syncs what it acknowledges and commits before it publishes tokens.
type Options struct {
	Version      string // default 26.7.2.1
	User         string // empty accepts anybody
	Password     string
	PublishFirst bool // tokens are published before the part is committed
	NoSync       bool // says that it syncs, and does not: 30 s of parts are lost with the power
	Wobble       bool // the start time differs by a second from question to question

	// Lean forgets what was inserted but for log, index and hash of the
	// ledger's rows, the newest part of every other table, and meta: for long
	// runs whose memory is looked at. It cannot say what is orphaned.
	Lean bool
}

// Server is one ClickHouse, over all its lives. All methods may be called
// concurrently.
type Server struct {
	o  Options
	wg sync.WaitGroup

	mu         sync.Mutex
	decide     func(Statement) Fault
	tables     map[string]map[string]*table // by database
	boot       *boot
	uuid       string
	up         time.Time // connections are refused before
	boots      int
	closed     bool
	seq        uint64 // of the newest part
	statements int
	swallowed  int             // parts that a token kept out
	ids        map[string]bool // of inserts, ever
	complaints []string
}

// boot is one life of the server.
type boot struct {
	start time.Time
	ctx   context.Context // ends with it
	end   context.CancelFunc
	http  *http.Server
	conns chan net.Conn
	procs []*process
}

// process is a statement as system.processes shows it.
type process struct {
	id     string
	hidden bool
	kill   chan struct{} // closed by KILL QUERY
	dead   chan struct{} // closed when it is over
}

// New starts a server.
func New(o Options) *Server {
	if o.Version == "" {
		o.Version = "26.7.2.1"
	}
	s := &Server{o: o, tables: map[string]map[string]*table{}, ids: map[string]bool{}, uuid: "01234567-89ab-cdef-0123-456789abcdef"}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start(time.Now())
	return s
}

// Decide sets what is asked for every statement; nil is no faults. It is
// called without locks, by one statement or several.
func (s *Server) Decide(f func(Statement) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = f
}

// Close ends the server, and waits for what runs on it.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.stop()
	s.mu.Unlock()
	s.wg.Wait()
}

// start begins a life. s.mu is held.
func (s *Server) start(at time.Time) {
	ctx, end := context.WithCancel(context.Background())
	b := &boot{start: at, ctx: ctx, end: end, conns: make(chan net.Conn)}
	b.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(b, w, r) }),
		ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Hour}
	s.boot, s.up = b, at
	s.boots++
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		b.http.Serve(listener{b})
	}()
}

// stop ends the life. s.mu is held.
func (s *Server) stop() {
	s.boot.end()
	s.boot.http.Close()
}

// Restart ends the server's life and begins another.
func (s *Server) Restart(r Restart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart(r)
}

func (s *Server) restart(r Restart) {
	if s.closed {
		return
	}
	s.stop()
	s.lose(r)
	if r.UUID != "" {
		s.uuid = r.UUID
	}
	s.start(time.Now().Add(max(r.Down, 3*time.Second)))
}

// Boots returns the number of lives so far.
func (s *Server) Boots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boots
}

// SetUUID makes the server answer with another UUID: a balancer before it has
// chosen another one.
func (s *Server) SetUUID(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uuid = id
}

// Statements and Swallowed count the statements that arrived, and the parts
// that a token kept out.
func (s *Server) Statements() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statements
}

// Swallowed counts the parts that a token kept out.
func (s *Server) Swallowed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.swallowed
}

// Change replaces a part of a table's engine_full, such as a setting.
func (s *Server) Change(db, table, old, new string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[db][table]; t != nil {
		t.engine = strings.ReplaceAll(t.engine, old, new)
	}
}

// Retype changes the type of a column.
func (s *Server) Retype(db, table, column, typ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[db][table]; t != nil {
		for i := range t.columns {
			if t.columns[i].Name == column {
				t.columns[i].Type, t.columns[i].Full = typ, typ
			}
		}
	}
}

// Drop removes a table, or a column of it.
func (s *Server) Drop(db, table, column string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if column == "" {
		delete(s.tables[db], table)
		return
	}
	if t := s.tables[db][table]; t != nil {
		for i, c := range t.columns {
			if c.Name == column {
				t.columns = append(t.columns[:i:i], t.columns[i+1:]...)
				return
			}
		}
	}
}

// Complaints lists what no client may do: statements that the fake does not
// know, a query id sent twice, an insert without its settings.
func (s *Server) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.complaints...)
}

// complain notes what no client may do. s.mu is held.
func (s *Server) complain(text string) {
	if len(s.complaints) < 20 {
		s.complaints = append(s.complaints, text)
	}
}

// DSN is where clients believe the server to be.
func (s *Server) DSN() string { return "http://appliance@127.0.0.1:8123/" }

// Dial connects to the server.
func (s *Server) Dial(ctx context.Context, addr string) (net.Conn, error) {
	s.mu.Lock()
	b, up := s.boot, !s.closed && !time.Now().Before(s.up)
	s.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	if !up {
		return nil, refused
	}
	ours, theirs := net.Pipe()
	select {
	case b.conns <- theirs:
		return ours, nil
	case <-b.ctx.Done():
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type listener struct{ b *boot }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.b.conns:
		return c, nil
	case <-l.b.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "tcp" }
func (addr) String() string  { return "127.0.0.1:8123" }

// running lists the visible processes whose id is like a pattern. s.mu is
// held.
func (s *Server) running(pattern string) []*process {
	re := like(pattern)
	var out []*process
	for _, p := range s.boot.procs {
		if !p.hidden && re.MatchString(p.id) {
			out = append(out, p)
		}
	}
	return out
}

// killSync kills statements and waits until they are dead.
func (s *Server) killSync(b *boot, pattern string) (*result, error) {
	s.mu.Lock()
	procs := s.running(pattern)
	for _, p := range procs {
		select {
		case <-p.kill:
		default:
			close(p.kill)
		}
	}
	s.mu.Unlock()
	if len(procs) == 0 {
		return nil, nil // ClickHouse answers with nothing at all
	}
	r := &result{columns: []string{"kill_status", "query_id", "user", "query"}}
	for _, p := range procs {
		select {
		case <-p.dead:
		case <-b.ctx.Done():
			return nil, exception(394, "Query was cancelled. (QUERY_WAS_CANCELLED)")
		}
		r.rows = append(r.rows, []string{"finished", p.id, "appliance", "INSERT"})
	}
	return r, nil
}
