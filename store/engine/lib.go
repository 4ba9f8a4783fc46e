package engine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb's C interface, as far as this package uses it. Every
// handle is an opaque pointer of the library; Go never looks behind one except
// through the functions that return buffers and strings.
//
// The explicit-length (_n) functions are used throughout: statements and
// parameter values may hold any byte, NUL included.
type library struct {
	path string

	setSignalHandlersEnabled func(int32)
	version                  func() string

	connect   func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn func(conn unsafe.Pointer)

	query       func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	streamQuery func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	streamFetch func(conn, stream uintptr) uintptr
	streamStop  func(conn, stream uintptr)

	insert       func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	insertAppend func(stream uintptr, data unsafe.Pointer, n uintptr) int32
	insertDone   func(stream uintptr) uintptr
	insertCancel func(stream uintptr)
	insertError  func(stream uintptr) string
	insertFree   func(stream uintptr)

	classify func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, db unsafe.Pointer, dbLen uintptr, out unsafe.Pointer) int32

	resultBuffer       func(res uintptr) unsafe.Pointer
	resultLength       func(res uintptr) uintptr
	resultError        func(res uintptr) string
	resultElapsed      func(res uintptr) float64
	resultRowsRead     func(res uintptr) uint64
	resultBytesRead    func(res uintptr) uint64
	resultRowsWritten  func(res uintptr) uint64
	resultBytesWritten func(res uintptr) uint64
	storageRowsRead    func(res uintptr) uint64
	storageBytesRead   func(res uintptr) uint64
	destroyResult      func(res uintptr)
}

// loadLibrary opens libchdb and binds what we call. The engine's own signal
// handlers are switched off before anything else can install them: they would
// displace the Go runtime's, and a Go process without its SIGSEGV and SIGURG
// handlers does not live long.
func loadLibrary(path string) (lib *library, err error) {
	defer func() {
		// RegisterLibFunc panics on a missing symbol: some other library, or
		// an older libchdb, was found.
		if p := recover(); p != nil {
			lib, err = nil, fmt.Errorf("loading engine library %s: it is not the libchdb expected (%v); need version %s or newer", path, p, npmVersion)
		}
	}()
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading engine library %s: %w", path, err)
	}
	lib = &library{path: path}
	for _, f := range []struct {
		fn   any
		name string
	}{
		{&lib.setSignalHandlersEnabled, "chdb_set_signal_handlers_enabled"},
		{&lib.version, "chdb_version"},
		{&lib.connect, "chdb_connect"},
		{&lib.closeConn, "chdb_close_conn"},
		{&lib.query, "chdb_query_with_params_n"},
		{&lib.streamQuery, "chdb_stream_query_with_params_n"},
		{&lib.streamFetch, "chdb_stream_fetch_result"},
		{&lib.streamStop, "chdb_stream_cancel_query"},
		{&lib.insert, "chdb_stream_insert_with_params_n"},
		{&lib.insertAppend, "chdb_stream_append"},
		{&lib.insertDone, "chdb_stream_done"},
		{&lib.insertCancel, "chdb_stream_cancel_insert"},
		{&lib.insertError, "chdb_stream_insert_error"},
		{&lib.insertFree, "chdb_destroy_insert_stream"},
		{&lib.classify, "chdb_classify_query_n"},
		{&lib.resultBuffer, "chdb_result_buffer"},
		{&lib.resultLength, "chdb_result_length"},
		{&lib.resultError, "chdb_result_error"},
		{&lib.resultElapsed, "chdb_result_elapsed"},
		{&lib.resultRowsRead, "chdb_result_rows_read"},
		{&lib.resultBytesRead, "chdb_result_bytes_read"},
		{&lib.resultRowsWritten, "chdb_result_rows_written"},
		{&lib.resultBytesWritten, "chdb_result_bytes_written"},
		{&lib.storageRowsRead, "chdb_result_storage_rows_read"},
		{&lib.storageBytesRead, "chdb_result_storage_bytes_read"},
		{&lib.destroyResult, "chdb_destroy_query_result"},
	} {
		purego.RegisterLibFunc(f.fn, h, f.name)
	}
	lib.setSignalHandlersEnabled(0)
	return lib, nil
}

// param is one query parameter: {name:Type} in the statement. The engine reads
// value in the escaped syntax of a TabSeparated field, as its server does.
type param struct{ name, value string }

// cParams are parameters in the library's form: four parallel arrays. The
// slices keep what the arrays point to alive; call keep after the call.
type cParams struct {
	names, values       []unsafe.Pointer
	nameLens, valueLens []uintptr
	pin                 runtime.Pinner
}

func newCParams(ps []param) *cParams {
	c := &cParams{}
	for _, p := range ps {
		n, v := append([]byte(p.name), 0), append([]byte(p.value), 0)
		c.pin.Pin(&n[0])
		c.pin.Pin(&v[0])
		c.names, c.nameLens = append(c.names, unsafe.Pointer(&n[0])), append(c.nameLens, uintptr(len(p.name)))
		c.values, c.valueLens = append(c.values, unsafe.Pointer(&v[0])), append(c.valueLens, uintptr(len(p.value)))
	}
	return c
}

func (c *cParams) args() (names, nameLens, values, valueLens unsafe.Pointer, n uintptr) {
	if len(c.names) == 0 {
		return nil, nil, nil, nil, 0
	}
	return unsafe.Pointer(&c.names[0]), unsafe.Pointer(&c.nameLens[0]),
		unsafe.Pointer(&c.values[0]), unsafe.Pointer(&c.valueLens[0]), uintptr(len(c.names))
}

func (c *cParams) free() { c.pin.Unpin() }

// result is one answer of the library, owned by Go until free is called.
type result struct {
	lib *library
	h   uintptr
}

// Stats are the counters the engine reports for a statement.
type stats struct {
	rowsRead, bytesRead       uint64
	rowsWritten, bytesWritten uint64
	elapsedNS                 uint64
}

var errNoResult = errors.New("the engine returned no result")

// err is the engine's error, nil where the statement went well.
func (r result) err() error {
	if r.h == 0 {
		return errNoResult
	}
	if msg := r.lib.resultError(r.h); msg != "" {
		return parseException(msg)
	}
	return nil
}

// bytes aliases the library's buffer: it is valid until free.
func (r result) bytes() []byte {
	if r.h == 0 {
		return nil
	}
	n := r.lib.resultLength(r.h)
	p := r.lib.resultBuffer(r.h)
	if p == nil || n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(p), n)
}

func (r result) stats() stats {
	if r.h == 0 {
		return stats{}
	}
	return stats{
		rowsRead:     r.lib.storageRowsRead(r.h),
		bytesRead:    r.lib.storageBytesRead(r.h),
		rowsWritten:  r.lib.resultRowsWritten(r.h),
		bytesWritten: r.lib.resultBytesWritten(r.h),
		elapsedNS:    uint64(r.lib.resultElapsed(r.h) * 1e9),
	}
}

func (r result) free() {
	if r.h != 0 {
		r.lib.destroyResult(r.h)
	}
}

// errRefused is all that the library gives where it cannot open a database; it
// has printed why.
var errRefused = errors.New("the library refuses")

// conn is one connection of the library. It runs one statement at a time; its
// owner sees to that.
type conn struct {
	lib *library
	p   unsafe.Pointer // chdb_connection *
}

// open makes a connection. The first one of a process boots the engine, with
// the server-level arguments given to it; later ones share it.
func (l *library) open(args ...string) (*conn, error) {
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, a := range append([]string{"clickhouse"}, args...) {
		b := append([]byte(a), 0)
		pin.Pin(&b[0])
		argv = append(argv, unsafe.Pointer(&b[0]))
	}
	argv = append(argv, nil)
	p := l.connect(int32(len(argv)-1), unsafe.Pointer(&argv[0]))
	if p == nil || *(*uintptr)(p) == 0 {
		return nil, errRefused
	}
	return &conn{lib: l, p: p}, nil
}

func (c *conn) handle() uintptr { return *(*uintptr)(c.p) }

func (c *conn) close() {
	if c.p != nil {
		c.lib.closeConn(c.p)
		c.p = nil
	}
}

func bytePtr(s []byte) unsafe.Pointer {
	if len(s) == 0 {
		return unsafe.Pointer(&zeroByte)
	}
	return unsafe.Pointer(&s[0])
}

var zeroByte byte

// run executes one statement and returns its whole result. The caller frees
// the result whatever err says.
func (c *conn) run(sql, format string, ps []param) (result, error) {
	cp := newCParams(ps)
	defer cp.free()
	q, f := []byte(sql), []byte(format)
	n, nl, v, vl, k := cp.args()
	r := result{c.lib, c.lib.query(c.handle(), bytePtr(q), uintptr(len(q)), bytePtr(f), uintptr(len(f)), n, nl, v, vl, k)}
	runtime.KeepAlive(cp)
	return r, r.err()
}

// exec runs a statement whose result is of no interest.
func (c *conn) exec(sql string) error {
	r, err := c.run(sql, "Null", nil)
	r.free()
	return err
}

// queryClass is what the engine's parser says a statement does to state that
// outlives it.
type queryClass uint32

const (
	classReadOnly queryClass = 0
	classMutating queryClass = 1
	classGlobal   queryClass = 2 // mutates something outside a database
	classControl  queryClass = 3 // KILL, SYSTEM, SET and the like
	classUnknown  queryClass = 4 // did not parse
)

// analyse asks the engine's own parser what sql is, without running it. count
// is the number of statements in it, 0 where it does not parse.
func (c *conn) analyse(sql string) (class queryClass, count uint32, err error) {
	// chdb_query_analysis_v1: size, statements, flags, class.
	var out [4]uint32
	out[0] = uint32(unsafe.Sizeof(out))
	q := []byte(sql)
	if c.lib.classify(c.handle(), bytePtr(q), uintptr(len(q)), nil, 0, unsafe.Pointer(&out)) != 0 {
		return classUnknown, 0, errors.New("the engine would not say what the statement is")
	}
	return queryClass(out[3]), out[1], nil
}

// rows is a result that comes in pieces.
type rows struct {
	c *conn
	s result
}

// stream starts a statement whose result is fetched piece by piece.
func (c *conn) stream(sql, format string, ps []param) (*rows, error) {
	cp := newCParams(ps)
	defer cp.free()
	q, f := []byte(sql), []byte(format)
	n, nl, v, vl, k := cp.args()
	s := result{c.lib, c.lib.streamQuery(c.handle(), bytePtr(q), uintptr(len(q)), bytePtr(f), uintptr(len(f)), n, nl, v, vl, k)}
	runtime.KeepAlive(cp)
	if err := s.err(); err != nil {
		s.free()
		return nil, err
	}
	return &rows{c, s}, nil
}

// next fetches one piece; the caller frees it. An empty piece is the end.
func (r *rows) next() (result, error) {
	p := result{r.c.lib, r.c.lib.streamFetch(r.c.handle(), r.s.h)}
	return p, p.err()
}

func (r *rows) cancel() { r.c.lib.streamStop(r.c.handle(), r.s.h) }
func (r *rows) free()   { r.s.free() }

// inserter is an INSERT whose data is appended piece by piece.
type inserter struct {
	lib *library
	h   uintptr
}

// insert starts an INSERT; sql ends before FORMAT or VALUES.
func (c *conn) insert(sql, format string, ps []param) (*inserter, error) {
	cp := newCParams(ps)
	defer cp.free()
	q, f := []byte(sql), []byte(format)
	n, nl, v, vl, k := cp.args()
	h := c.lib.insert(c.handle(), bytePtr(q), uintptr(len(q)), bytePtr(f), uintptr(len(f)), n, nl, v, vl, k)
	runtime.KeepAlive(cp)
	if h == 0 {
		return nil, errNoResult
	}
	ins := &inserter{c.lib, h}
	if err := ins.err(); err != nil {
		ins.free()
		return nil, err
	}
	return ins, nil
}

func (i *inserter) err() error {
	if msg := i.lib.insertError(i.h); msg != "" {
		return parseException(msg)
	}
	return nil
}

// append hands one piece to the engine, which copies it; it blocks while the
// engine is behind.
func (i *inserter) append(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if i.lib.insertAppend(i.h, unsafe.Pointer(&p[0]), uintptr(len(p))) != 0 {
		if err := i.err(); err != nil {
			return err
		}
		return errors.New("the engine refused the data without saying why")
	}
	return nil
}

// done commits; its counters say what was written.
func (i *inserter) done() (stats, error) {
	r := result{i.lib, i.lib.insertDone(i.h)}
	defer r.free()
	return r.stats(), r.err()
}

func (i *inserter) cancel() { i.lib.insertCancel(i.h) }
func (i *inserter) free()   { i.lib.insertFree(i.h) }
