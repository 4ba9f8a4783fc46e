package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// following is an appliance that follows logs in a bubble until the test ends.
type following struct {
	*Appliance
	t     *testing.T
	sink  *memSink
	stop  context.CancelFunc
	ended chan error
}

func follow(t *testing.T, c Config, sink *memSink) *following {
	t.Helper()
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	f := &following{Appliance: a, t: t, sink: sink, stop: stop, ended: make(chan error, 1)}
	go func() { f.ended <- a.Run(ctx) }()
	return f
}

// end stops the appliance and closes it.
func (f *following) end() {
	f.t.Helper()
	f.stop()
	if err := <-f.ended; err != nil {
		f.t.Errorf("running: %v", err)
	}
	if err := f.Close(); err != nil {
		f.t.Errorf("closing: %v", err)
	}
}

// haltedBy runs a backfill from a log that lies until it is halted. Where the
// store is away the lie is in the WAL only, else in the ledger as well.
func haltedBy(t *testing.T, c Config, sink *memSink, away bool) {
	t.Helper()
	if away {
		sink.fail = func(op string, _ *schema.Flush) error {
			if op == "ledger" && sink.calls[op] > 1 {
				return errors.New("away")
			}
			return nil
		}
		defer sink.mend()
	}
	a := follow(t, c, sink)
	for a.Status().Logs[0].State != "halted" {
		time.Sleep(time.Second)
	}
	time.Sleep(time.Minute) // the drain
	synctest.Wait()
	a.stop()
	<-a.ended // a halted log is an error
	if err := a.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

var wrongEntry = ctlogtest.Fault{Mode: ctlogtest.CorruptEntry, From: 430, To: 431}

// haltedBackfill is a backfill of l that was halted for an entry that l served
// wrongly; it serves the right one again. Where the store was away (see
// haltedBy) the ledger has not seen it.
func haltedBackfill(t *testing.T, l *ctlogtest.Log, dedup, away bool) (c Config, sink *memSink, log *testLog) {
	t.Helper()
	log, sink = dial(t, l), newMemSink()
	sink.dedup = dedup
	c = bubbleConfig(t, sink, log)
	c.verifyEvery = 256
	if err := l.Faults().Set(wrongEntry); err != nil {
		t.Fatal(err)
	}
	haltedBy(t, c, sink, away)
	if err := l.Faults().Set(); err != nil {
		t.Fatal(err)
	}
	return c, sink, log
}
