package engine

import (
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// TestReaderWords: what reaches outside is refused to readers before anything
// else sees it, for systems on which that is the only wall.
func TestReaderWords(t *testing.T) {
	for sql, ok := range map[string]bool{
		"SELECT 1":                        true,
		"SELECT 'file' FROM ct.ledger":    true,
		"SELECT file('/etc/passwd')":      false,
		"SELECT `FiLe`('/etc/passwd')":    false,
		"SELECT arrayMap(file, ['x'])":    false,
		"DESCRIBE TABLE url('http://x/')": false,
		"SELECT * FROM icebergS3('x')":    false,
		"SELECT 1 INTO OUTFILE 'x'":       false,
	} {
		req := &request{stmt: statement{sql: sql}}
		if err := (readerLimits{}).apply(req); (err == nil) != ok {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestNamesWithinATick: a directory that may have changed again without its
// time showing it is synced again, one that has been quiet is not.
func TestNamesWithinATick(t *testing.T) {
	root := t.TempDir()
	table := filepath.Join(root, "store", "123", "uuid")
	if err := os.MkdirAll(table, 0o700); err != nil {
		t.Fatal(err)
	}
	n := &nameSync{root: root}
	sync := func() time.Time {
		t.Helper()
		if err := n.sync(); err != nil {
			t.Fatal(err)
		}
		return n.known[table].at
	}
	old := time.Now().Add(-time.Hour)
	if first := sync(); !sync().After(first) {
		t.Error("a directory that changed just now was not synced again")
	}
	if err := os.Chtimes(table, old, old); err != nil {
		t.Fatal(err)
	}
	first := sync()
	if again := sync(); !again.Equal(first) {
		t.Error("a directory that did not change was synced again")
	}
	if err := os.Chtimes(table, old, old.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if !sync().After(first) {
		t.Error("a directory that changed was not synced")
	}
	// A second ago the clock that gave a round time may still stand still, one
	// that has nanoseconds has ticked.
	for _, c := range []struct {
		round time.Duration
		again bool
	}{{time.Millisecond, true}, {time.Second, true}, {0, false}} {
		mod := time.Now().Add(-time.Second).Truncate(c.round)
		if c.round == 0 {
			mod = mod.Truncate(time.Millisecond).Add(123_457)
		}
		if err := os.Chtimes(table, mod, mod); err != nil {
			t.Fatal(err)
		}
		first := sync()
		if again := sync().After(first); again != c.again {
			t.Errorf("a directory that changed at %v was synced again: %v", mod, again)
		}
	}
}

// TestNewTableIsSeen: what is listed of a quiet directory is listed anew when
// it has changed, and what is gone and comes again is not taken for synced.
func TestNewTableIsSeen(t *testing.T) {
	root := t.TempDir()
	old := time.Now().Add(-time.Hour)
	quiet := func(dirs ...string) {
		t.Helper()
		for _, dir := range dirs {
			if err := os.Chtimes(filepath.Join(root, dir), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	mkdir := func(dir string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	n := &nameSync{root: root}
	sync := func() {
		t.Helper()
		if err := n.sync(); err != nil {
			t.Fatal(err)
		}
	}
	at := func(dir string) time.Time { return n.known[filepath.Join(root, dir)].at }
	mkdir("store/123/one")
	quiet("store/123/one", "store/123", "store", ".")
	sync()
	quietAt := at("store/123")
	sync()
	if got := at("store/123"); !got.Equal(quietAt) || at("store/123/one").IsZero() {
		t.Errorf("a quiet directory was synced at %v and again at %v", quietAt, got)
	}
	mkdir("store/123/two")
	mkdir("store/456/three")
	sync()
	for _, dir := range []string{"store/123/two", "store/456", "store/456/three"} {
		if at(dir).IsZero() {
			t.Errorf("%s was not synced", dir)
		}
	}
	if err := os.Remove(filepath.Join(root, "store/123/one")); err != nil {
		t.Fatal(err)
	}
	quiet("store/123") // as before it was synced last: it is not listed, and has what is no more
	n.known[filepath.Join(root, "store/123")] = syncedDir{mod: old, at: time.Now(), below: []string{"one", "two"}}
	sync()
	if !at("store/123/one").IsZero() {
		t.Error("a directory that is gone is remembered")
	}
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestBuffersOfInserts: the buffer of an insert is another's only when the
// engine has taken all that was in it.
func TestBuffersOfInserts(t *testing.T) {
	var taken [3]strings.Builder
	lib := &library{
		insertAppend: func(stream uintptr, data unsafe.Pointer, n uintptr) int32 {
			taken[stream].Write(unsafe.Slice((*byte)(data), n))
			return 0
		},
		insertError: func(uintptr) string { return "" },
	}
	f := &face{readTimeout: time.Minute}
	feed := func(stream uintptr, body io.Reader) {
		if err := f.feed(httptest.NewRecorder(), &inserter{lib, stream}, &request{body: body}); err != nil {
			t.Error(err)
		}
	}
	one, other := strings.Repeat("1", insertChunk/2), strings.Repeat("2", insertChunk+7)
	half := strings.NewReader(one)
	feed(1, readerFunc(func(p []byte) (int, error) {
		if half.Len() == 0 { // and nothing was given to the engine yet
			feed(2, strings.NewReader(other))
			return 0, io.EOF
		}
		return half.Read(p)
	}))
	if taken[1].String() != one || taken[2].String() != other {
		t.Errorf("the engine got %d and %d bytes, not those that were sent, %d and %d", taken[1].Len(), taken[2].Len(), len(one), len(other))
	}
}

func TestQuoteString(t *testing.T) {
	for s, want := range map[string]string{"it's": `'it\'s'`, `\`: `'\\'`, `\' OR 1 --`: `'\\\' OR 1 --'`, "a\nb": `'a\x0ab'`, "": `''`} {
		if got := quoteString(s); got != want {
			t.Errorf("quoteString(%q) = %s, want %s", s, got, want)
		}
	}
}

// endless is a listener that always has one more connection.
type endless struct{ net.Listener }

func (endless) Accept() (net.Conn, error) {
	c, _ := net.Pipe()
	return c, nil
}

// TestNoMoreClients: a connection beyond the limit is not accepted before
// another ends.
func TestNoMoreClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limitListener{Listener: endless{}, slots: make(chan struct{}, 2)}
		accepted := make(chan net.Conn, 10)
		for range 3 {
			go func() {
				if c, err := l.Accept(); err == nil {
					accepted <- c
				}
			}()
		}
		synctest.Wait()
		if n := len(accepted); n != 2 {
			t.Errorf("%d connections are open, the limit is 2", n)
		}
		for range 3 {
			(<-accepted).Close()
			synctest.Wait()
		}
	})
}
