//go:build unix

package engine_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ctappliance/store/engine"
	"ctappliance/store/engine/enginetest"
)

// slowInsert writes rows one by one, each in a block and a part of its own, so
// that an insert at work can be seen in the table.
const slowInsert = "INSERT INTO %s.t SELECT number, sleepEachRow(0.02) FROM numbers(%d) SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1, max_threads = 1"

func slowTable(t *testing.T, e *engine.Engine) string {
	t.Helper()
	ct := database(t, open(t, e.DSN()))
	mustCall(t, e, "CREATE TABLE "+ct+".t (a UInt64, b UInt8) ENGINE = MergeTree ORDER BY a")
	return ct
}

// TestFenceWaitsForExecution: a fence of statements does not hold before an
// insert that the engine is at work on has come to its end.
func TestFenceWaitsForExecution(t *testing.T) {
	e := sharedEngine(t)
	ct := slowTable(t, e)
	id := "exec-" + rand.Text()
	const rows = 50
	answered := make(chan int, 1)
	go func() {
		status, _, _ := call(t, e, url.Values{"query_id": {id}}, fmt.Sprintf(slowInsert, ct, rows))
		answered <- status
	}()
	until(t, func() bool { return mustCall(t, e, "SELECT count() > 0 FROM "+ct+".t") == "1" })
	must(t, e.FenceStatements(t.Context(), id))
	n := mustCall(t, e, "SELECT count() FROM "+ct+".t")
	if status := <-answered; status != 200 || n != fmt.Sprint(rows) {
		t.Errorf("%s of %d rows when the fence held; then the insert was answered with HTTP %d", n, rows, status)
	}
	// One that was answered is no obstacle, and loses nothing by it.
	must(t, e.FenceStatements(t.Context(), id))
	if got := mustCall(t, e, "SELECT count() FROM "+ct+".t"); got != n {
		t.Errorf("%s rows after the second fence", got)
	}
}

// TestFenceHolds has clients that go on inserting under IDs with one prefix
// whatever they are told. From the moment that the fence holds no row comes.
func TestFenceHolds(t *testing.T) {
	e := sharedEngine(t)
	ct := slowTable(t, e)
	prefix := "hold-" + rand.Text() + "-"
	var wg sync.WaitGroup
	var answered, refused, seq atomic.Int64
	for range 6 {
		wg.Go(func() {
			for range 100 {
				id := fmt.Sprint(prefix, seq.Add(1))
				// In pieces, so that some are in mid-body when the fence comes.
				pr, pw := io.Pipe()
				go func() {
					for i := range 5 {
						fmt.Fprintf(pw, "%d\t%d\n", seq.Load(), i)
					}
					pw.Close()
				}()
				status, _, code := do(t, e, http.MethodPost, url.Values{"query_id": {id}, "query": {"INSERT INTO " + ct + ".t FORMAT TSV"}}, pr)
				pr.Close()
				switch {
				case status == 200:
					answered.Add(1)
				case code == 394:
					refused.Add(1)
				default:
					t.Errorf("HTTP %d code %d", status, code)
					return
				}
			}
		})
	}
	until(t, func() bool { return answered.Load() >= 20 || t.Failed() })
	must(t, e.FenceStatements(t.Context(), prefix))
	count := "SELECT count() FROM " + ct + ".t"
	n := mustCall(t, e, count)
	wg.Wait()
	if got := mustCall(t, e, count); got != n || n != fmt.Sprint(5*answered.Load()) {
		t.Errorf("%s rows when the fence held, %s later; %d inserts of 5 were acknowledged", n, got, answered.Load())
	}
	if refused.Load() == 0 {
		t.Error("the fence held when all inserts had been made: it held nothing back")
	}
	t.Logf("%d inserts acknowledged, %d refused", answered.Load(), refused.Load())
}

// TestFenceOfBodyUnderWay: the client of an insert goes on sending. The fence
// does not hold until its connection has ended; then no further row of it comes.
func TestFenceOfBodyUnderWay(t *testing.T) {
	e := sharedEngine(t)
	ct := slowTable(t, e)
	id := "body-" + rand.Text()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pr, pw := io.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(pw, "%d\t0\n", i); err != nil {
				return
			}
		}
	}()
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, e.URL()+"/?query_id="+id+"&query="+url.QueryEscape("INSERT INTO "+ct+".t FORMAT TSV"), pr)
		req.SetBasicAuth(e.Credentials())
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		pr.CloseWithError(io.ErrClosedPipe)
	}()
	until(t, func() bool { return len(runningIDs(t, e, id)) == 1 })
	short, done := context.WithTimeout(ctx, 100*time.Millisecond)
	defer done()
	if err := e.FenceStatements(short, id); err == nil {
		t.Error("the fence held while the insert's data was coming")
	}
	cancel()
	must(t, e.FenceStatements(t.Context(), id))
	n := mustCall(t, e, "SELECT count() FROM "+ct+".t")
	<-sent
	if got := mustCall(t, e, "SELECT count() FROM "+ct+".t"); got != n {
		t.Errorf("%s rows when the fence held, %s later", n, got)
	}
}

// TestFenceReachesStarting: on a port that stays the same a statement can be in
// a child that its parent does not yet call running. A fence is for it too.
func TestFenceReachesStarting(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	o := enginetest.Options(t, filepath.Join(t.TempDir(), "engine"))
	o.Port = lis.Addr().(*net.TCPAddr).Port
	lis.Close()
	e, err := engine.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(e.Stop)
	mustCall(t, e, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	must(t, syscall.Kill(e.PID(), syscall.SIGKILL))
	until(t, func() bool { return e.Status().State == engine.Restarting })
	var c net.Conn
	until(t, func() bool {
		c, err = net.Dial("tcp", lis.Addr().String())
		return err == nil
	})
	defer c.Close()
	running := e.Status().State == engine.Running
	name, pass := e.Credentials()
	req, _ := http.NewRequest(http.MethodPost, "http://x/", nil)
	req.SetBasicAuth(name, pass)
	fmt.Fprintf(c, "POST /?query=%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Length: 8\r\n\r\n1\n2\n", url.QueryEscape("INSERT INTO t FORMAT TSV"), req.Header.Get("Authorization"))
	must(t, e.Fence(t.Context()))
	io.WriteString(c, "3\n4\n")
	answer, _ := bufio.NewReader(c).ReadString('\n')
	if strings.Contains(answer, "200") {
		t.Errorf("an insert from before the fence was answered after it: %q", answer)
	}
	must(t, e.Wait(t.Context()))
	if n := mustCall(t, e, "SELECT count() FROM t"); n != "0" {
		t.Errorf("%s rows of an insert from before the fence", n)
	}
	t.Logf("the child was running already: %v", running)
}
