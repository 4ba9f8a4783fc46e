package ingest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
)

// A store that cannot use what it made of the rows gets the rows, and the
// ledger and the other tables are the same.
func TestStaleColumns(t *testing.T) {
	l := sharedLog(t, ctlogtest.Static)
	synctest.Test(t, func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		want := truth(t, l)
		sink.stale = true
		c := bubbleConfig(t, sink, log)
		st, _ := life(t, c, nil)
		checkDone(t, c, st, sink, log)
		if err := equalRows(sink.rows, want); err != nil {
			t.Error(err)
		}
		if len(st.Alarms) > 0 || st.Delivery.InsertErrors > 0 {
			t.Errorf("%d inserts failed, alarms %q", st.Delivery.InsertErrors, st.Alarms)
		}
	})
}

// While a flush is on its way the next one is filled until it is full, and no
// further. What the deliverer has not taken has no intent.
func TestOneFlushAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, d, s := alone(t, newMemSink())
		d.a.c.FlushRows = 20
		in, cuts := make(chan *parsed), make(chan *flush)
		c := &cutter{a: d.a, out: cuts, fed: map[uint64]uint64{}}
		ended := make(chan error, 1)
		go func() { ended <- c.run(ctx, 1, in) }()
		var records atomic.Int64
		taken := func() int { synctest.Wait(); return int(records.Load()) }
		go func() {
			for seq := uint64(1); seq <= 10; seq++ {
				from := 10 * (seq - 1)
				select {
				case in <- &parsed{seq: seq, span: s.id, log: s.log, from: from, to: from + 10, rows: ledgerRows(s, from, from+10)}:
					records.Add(1)
				case <-ctx.Done():
					return
				}
			}
		}()
		if taken() != 3 { // two fill the flush, the third waits for the next
			t.Errorf("%d records were taken while nobody took a flush", taken())
		}
		f := <-cuts
		if f.first != 1 || f.next != 3 || f.count != 20 || taken() != 5 {
			t.Errorf("the first flush is [%d,%d) of %d rows; %d records taken", f.first, f.next, f.count, taken())
		}
		if f = <-cuts; f.first != 3 || f.next != 5 {
			t.Errorf("the second flush is [%d,%d)", f.first, f.next)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if saved, err := d.a.checkpoint.Load(); err != nil || len(saved.Intents) != 0 {
			t.Errorf("%+v, %v", saved.Intents, err)
		}
	})
}

// A flush that is due grows until somebody takes it.
func TestDueFlushGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, d, s := alone(t, newMemSink())
		in, cuts := make(chan *parsed), make(chan *flush)
		c := &cutter{a: d.a, out: cuts, fed: map[uint64]uint64{}}
		go c.run(ctx, 1, in)
		for seq := uint64(1); seq <= 4; seq++ {
			from := 10 * (seq - 1)
			in <- &parsed{seq: seq, span: s.id, log: s.log, from: from, to: from + 10, rows: ledgerRows(s, from, from+10)}
			if sleep(ctx, d.a.c.FlushInterval) {
				synctest.Wait()
			}
		}
		if f := <-cuts; f.next != 5 || f.count != 40 {
			t.Errorf("what was taken is [%d,%d) of %d rows", f.first, f.next, f.count)
		}
	})
}

// The rows of a flush are read again from its records, and only those: not from
// what was cut off a span, and not from a hole that another record fills.
func TestLoad(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	old := d.a.spans.add(s.log, checkpoint.KindBackfill, 0, 3)
	old.walTo = 100 // beyond 3 it is void
	c := conductorOf(d.a, s)
	put := func(s *span, from uint64, leaves ...string) {
		t.Helper()
		c.s = s
		f := batchOf(from)
		for _, leaf := range leaves {
			f.batch.Entries = append(f.batch.Entries, ctlog.Entry{Leaf: []byte(leaf)})
			f.hashes = append(f.hashes, ctlog.LeafHash([]byte(leaf)))
		}
		if err := c.append(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	old.frontier = new(ctlog.Frontier)
	put(old, 0, "old 0", "old 1", "old 2")
	put(old, 3, "void 3", "void 4")
	put(s, 0, "0", "1", "2", "3")
	put(s, 4, "4", "5")
	log := schema.ShortID(s.log)
	in := &checkpoint.Intent{First: 2, Next: d.a.wal.Next()}
	for name, read := range map[string]func(*schema.Flush) ([]schema.Row, error){
		"rows": func(f *schema.Flush) ([]schema.Row, error) {
			err := d.load(f, in)
			return values(f.Rows), err
		},
		"columns": func(f *schema.Flush) ([]schema.Row, error) {
			if err := d.again(f, in); err != nil || f.Prepared == nil {
				return values(f.Rows), err
			}
			return f.Prepared.(*memColumns).rows, nil
		},
	} {
		rows, err := read(&schema.Flush{Ranges: []schema.Range{{Log: log, From: 0, To: 6}}})
		if err != nil {
			t.Fatal(name, err)
		}
		var got []string
		for i, r := range rows {
			if r.Index != uint64(i) {
				t.Errorf("%s: row %d is of entry %d", name, i, r.Index)
			}
			got = append(got, string(r.Leaf))
		}
		if all := strings.Join(got, " "); all != "0 1 2 3 4 5" {
			t.Errorf("%s: leaves %q", name, all)
		}
		// A record outside the flush's ranges was lost when it was cut.
		rows, err = read(&schema.Flush{Ranges: []schema.Range{{Log: log, From: 4, To: 6}}})
		if err != nil || len(rows) != 2 {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
		// One inside of them is lost now.
		var fatal *fatalError
		if rows, err = read(&schema.Flush{Ranges: []schema.Range{{Log: log, From: 0, To: 7}}}); !errors.As(err, &fatal) {
			t.Errorf("%s: %d rows of 7, %v", name, len(rows), err)
		}
	}
	// What stands in two records is taken once; columns cannot do that.
	repair := d.a.spans.add(s.log, checkpoint.KindRepair, 4, 6)
	repair.frontier = new(ctlog.Frontier)
	for _, leaf := range []string{"0", "1", "2", "3"} {
		repair.frontier.Append(ctlog.LeafHash([]byte(leaf)), nil)
	}
	put(repair, 4, "4", "5")
	in.Next = d.a.wal.Next()
	f := &schema.Flush{Ranges: []schema.Range{{Log: log, From: 0, To: 6}}}
	if err := d.again(f, in); err != nil || f.Prepared != nil || len(f.Rows) != 6 {
		t.Errorf("columns %v, %d rows of 6, %v", f.Prepared, len(f.Rows), err)
	}
	// Nor does it make up for a record that is lost: [6,8) was in the cut.
	f = &schema.Flush{Ranges: []schema.Range{{Log: log, From: 0, To: 8}}}
	var fatal *fatalError
	if err := d.again(f, in); !errors.As(err, &fatal) || f.Prepared != nil {
		t.Errorf("columns %v, %d rows of 8, %v", f.Prepared, len(f.Rows), err)
	}
}

func values(rows []*schema.Row) (out []schema.Row) {
	for _, r := range rows {
		out = append(out, *r)
	}
	return out
}
