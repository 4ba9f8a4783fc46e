package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
	"ctappliance/schema"
	"ctappliance/wal"
)

// Guards one by one, where whole lives of an appliance would take long to come
// upon the moment that they are for.

// alone is a deliverer without logs, parsers and goroutines, and a span of 100
// entries. ctx ends after an hour of the bubble's time.
func alone(t *testing.T, sink Sink) (ctx context.Context, d *deliverer, s *span) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	a, err := Open(Config{Dir: fastDir(t), Sink: sink, WAL: wal.Options{SegmentSize: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	s = a.spans.add(ctlog.Hash{1}, checkpoint.KindBackfill, 0, 100)
	s.sounded = true
	d = &deliverer{a: a, fenced: true, meta: checkpoint.Meta{Writer: 1, NextFlush: 1, DeliveredSeq: 1}}
	return ctx, d, s
}

func ledgerRows(s *span, from, to uint64) []schema.Row {
	rows := make([]schema.Row, to-from)
	for i := range rows {
		rows[i] = schema.Row{LogID: schema.ShortID(s.log), Index: from + uint64(i), Timestamp: 1700000000000, DER: []byte{0x30}}
	}
	return rows
}

// pointers returns the addresses of rows.
func pointers(rows []schema.Row) []*schema.Row {
	out := make([]*schema.Row, len(rows))
	for i := range rows {
		out[i] = &rows[i]
	}
	return out
}

func flushOf(s *span, from, to uint64) *schema.Flush {
	rows := ledgerRows(s, from, to)
	return &schema.Flush{ID: 7, Rows: pointers(rows), Ranges: []schema.Range{{Log: schema.ShortID(s.log), From: from, To: to}}}
}

// has puts rows into the sink that came there some other way.
func (s *memSink) has(rows []schema.Row) {
	for _, r := range rows {
		k := entryKey{r.LogID, r.Index}
		s.ledger[k]++
		s.rows[k] = r
		s.dependents[k] = true
	}
}

// A flush whose intent is on disk may have been inserted, in part or whole: it
// is counted before anything is inserted.
func TestIntentIsDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemSink()
		ctx, d, s := alone(t, sink)
		sink.has(ledgerRows(s, 0, 6))
		f := newFlush(1, nil)
		f.next, f.intent = 2, &checkpoint.Intent{ID: 7, First: 1, Next: 2}
		f.add(&parsed{seq: 1, span: s.id, log: s.log, from: 0, to: 10, rows: ledgerRows(s, 0, 10)})
		if err := d.deliver(ctx, f); err != nil {
			t.Fatal(err)
		}
		if err := sink.check(schema.ShortID(s.log), 0, 10); err != nil {
			t.Error(err)
		}
	})
}

// An insert that says it failed, although the rows are in, is not repeated.
func TestFailedInsertIsDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemSink()
		ctx, d, s := alone(t, sink)
		failures := 0
		sink.failed = func(op string, _ *schema.Flush) error {
			if failures++; op == "ledger" && failures < 3 {
				return errors.New("connection lost")
			}
			return nil
		}
		if err := d.insert(ctx, flushOf(s, 0, 10), &checkpoint.Intent{ID: 7}, false); err != nil {
			t.Fatal(err)
		}
		if err := sink.check(schema.ShortID(s.log), 0, 10); err != nil {
			t.Error(err)
		}
	})
}

// An insert that takes effect late does so before the rows are counted.
func TestResolveFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemSink()
		ctx, d, s := alone(t, sink)
		inserts := 0
		sink.late = func(string, *schema.Flush) bool { inserts++; return inserts == 1 }
		if err := d.insert(ctx, flushOf(s, 0, 10), &checkpoint.Intent{ID: 7}, false); err != nil {
			t.Fatal(err)
		}
		sink.settle()
		if err := sink.check(schema.ShortID(s.log), 0, 10); err != nil {
			t.Error(err)
		}
	})
}

// A server that knows the flush's token says yes and inserts nothing: the rows
// go in under a token that was never used.
func TestSwallowedInsert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemSink()
		ctx, d, s := alone(t, sink)
		sink.dedup = true
		f := flushOf(s, 0, 10)
		sink.tokens[token(f)] = true
		sink.fail = func(op string, _ *schema.Flush) error {
			if sink.calls["ledger"] > 20 {
				return errors.New("enough")
			}
			return nil
		}
		in := &checkpoint.Intent{ID: 7}
		if err := d.insert(ctx, f, in, true); err != nil {
			t.Error(err)
		}
		if err := sink.check(schema.ShortID(s.log), 0, 10); err != nil {
			t.Error(err)
		}
		saved, err := d.a.checkpoint.Load()
		if err != nil || len(saved.Intents) != 1 || saved.Intents[0].Generation != in.Generation || in.Generation == 0 {
			t.Errorf("the new token is not on disk: %+v, %v", saved.Intents, err)
		}
	})
}

// oddSink answers for fewer ranges than it was asked for.
type oddSink struct{ *memSink }

func (s oddSink) Prove(ctx context.Context, ranges []schema.Range) ([]schema.Proof, error) {
	return s.memSink.Prove(ctx, ranges[:len(ranges)-1])
}

func TestProofsMustMatch(t *testing.T) {
	ctx, d, s := alone(t, oddSink{newMemSink()})
	if lacking, err := d.lacking(ctx, flushOf(s, 0, 10)); err == nil {
		t.Errorf("no answer, and %d of 10 entries lack", len(lacking))
	}
}

func TestDoubledIsAnAlarm(t *testing.T) {
	sink := newMemSink()
	ctx, d, s := alone(t, sink)
	sink.has(ledgerRows(s, 0, 10))
	sink.has(ledgerRows(s, 4, 5))
	if lacking, err := d.lacking(ctx, flushOf(s, 0, 10)); err != nil || len(lacking) != 0 {
		t.Errorf("%d lack, %v", len(lacking), err)
	}
	if !hasAlarm(d.a.Status(), "11 rows for 10 entries") {
		t.Errorf("alarms: %q", d.a.Status().Alarms)
	}
}

// A table that is mended while rows are looked for has refused the first of
// them without reason.
func TestMendedDuringSearch(t *testing.T) {
	calls := 0
	s := search{try: func(rows []int) error {
		if calls++; calls <= 6 {
			return &schema.RefusedError{Table: "certs"}
		}
		return nil
	}}
	if err := s.run(upTo(16)); err != nil || len(s.bad) != 0 || !s.accepted {
		t.Errorf("%v are to blame, %v", s.bad, err)
	}
}

// Rows of a refused flush that are in the ledger already stay there once.
func TestPoisonAfterDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemSink()
		ctx, d, s := alone(t, sink)
		sink.has(ledgerRows(s, 0, 5))
		f := flushOf(s, 0, 10)
		sink.has(nil)
		for _, r := range f.Rows {
			sink.dependents[entryKey{r.LogID, r.Index}] = true
		}
		sink.dedup = true // every part needs a token of its own
		sink.refuse = func(r *schema.Row) bool { return r.Index == 7 && r.Timestamp != 0 }
		cause := &schema.RefusedError{Table: ledgerTable, Err: errors.New("out of range")}
		in := &checkpoint.Intent{ID: 7}
		if err := d.bisectLedger(ctx, f, in, cause, 1); err != nil {
			t.Fatal(err)
		}
		if n := sink.count(); n != 9 {
			t.Errorf("%d of 9 good rows are in when the bad one is found", n)
		}
		if err := d.insert(ctx, f, in, true); err != nil {
			t.Fatal(err)
		}
		if err := sink.check(schema.ShortID(s.log), 0, 10); err != nil {
			t.Error(err)
		}
	})
}

// A flush that is not cut again is fenced, and only then forgotten.
func TestStrayIsFenced(t *testing.T) {
	sink := newMemSink()
	ctx, d, s := alone(t, sink)
	stray := checkpoint.Intent{ID: 5, Fence: true}
	if err := d.saveRetrying(ctx, func(tx *checkpoint.Tx) error { return tx.PutIntent(stray) }); err != nil {
		t.Fatal(err)
	}
	d.strays = []uint64{5}
	sink.held[5] = []func(){func() { sink.has(ledgerRows(s, 0, 1)) }}
	sink.fail = func(op string, _ *schema.Flush) error { return errors.New("away") }
	if err := d.fence(ctx); err == nil || len(d.strays) != 1 {
		t.Errorf("fenced by a store that is away: %v", err)
	}
	sink.mend()
	if err := d.fence(ctx); err != nil || len(d.strays) != 0 || len(sink.held) != 0 {
		t.Errorf("%d strays, %d inserts that may come, %v", len(d.strays), len(sink.held), err)
	}
	if saved, err := d.a.checkpoint.Load(); err != nil || len(saved.Intents) != 0 {
		t.Errorf("%+v, %v", saved.Intents, err)
	}
}

func TestDependentsFirst(t *testing.T) {
	sink := newMemSink() // refuses ledger rows that come before their dependents
	ctx, d, s := alone(t, sink)
	if err := d.first(ctx, flushOf(s, 0, 10), &checkpoint.Intent{ID: 7}); err != nil {
		t.Error(err)
	}
}

// conductorOf runs nothing: it lends its methods.
func conductorOf(a *Appliance, s *span) *conductor {
	f := &follower{a: a, out: a.c.Logger, info: ctlog.Info{Name: "log", ID: s.log}, changed: make(chan struct{})}
	s.frontier = new(ctlog.Frontier)
	return &conductor{f: f, s: s, out: a.c.Logger}
}

func batchOf(from uint64, leaves ...[]byte) fetched {
	f := fetched{batch: &ctlog.Batch{From: from, Issuers: map[ctlog.Hash][]byte{}}}
	for _, leaf := range leaves {
		f.batch.Entries = append(f.batch.Entries, ctlog.Entry{Leaf: leaf})
		f.hashes = append(f.hashes, ctlog.LeafHash(leaf))
	}
	return f
}

// A cursor is not ahead of the WAL, whatever becomes of the append.
func TestCursorFollowsTheWAL(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	c := conductorOf(d.a, s)
	if err := c.append(ctx, batchOf(0, []byte("a"), []byte("b"))); err != nil {
		t.Fatal(err)
	}
	d.a.wal.Close()
	if err := c.append(ctx, batchOf(2, []byte("c"))); err == nil {
		t.Error("appended to a closed WAL")
	}
	if s.cursor.Load() != 2 || s.frontier.Size() != 2 || s.save().Cursor != 2 {
		t.Errorf("cursor %d, frontier %d, saved %d; 2 entries are in the WAL", s.cursor.Load(), s.frontier.Size(), s.save().Cursor)
	}
}

// wrongLog returns a batch that nobody asked for.
type wrongLog struct {
	ctlog.Log
	batch *ctlog.Batch
}

func (l wrongLog) Entries(context.Context, uint64, uint64, uint64) (*ctlog.Batch, error) {
	return l.batch, nil
}

func TestBatchMustFollow(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	c := conductorOf(d.a, s)
	if err := c.append(ctx, batchOf(5, []byte("a"))); err == nil || s.cursor.Load() != 0 || d.a.wal.Next() != 1 {
		t.Errorf("a batch at 5 was appended at 0: %v", err)
	}
	for what, b := range map[string]fetched{"elsewhere": batchOf(1, []byte("a")), "nothing": batchOf(0), "more": batchOf(0, []byte("a"), []byte("b"), []byte("c"))} {
		c.f.log = wrongLog{batch: b.batch}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		task := &task{from: 0, to: 2, out: make(chan fetched, 4)}
		if err := c.fetch(ctx, task, 100); err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

// An answer that is larger than a record of the WAL is appended in parts; an
// entry that is, halts its log and nothing else.
func TestHugeAnswer(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	c := conductorOf(d.a, s)
	noise := make([]byte, maxRecord+1)
	rng := rand.NewChaCha8([32]byte{})
	rng.Read(noise)
	half := noise[:maxRecord/2+1000]
	if err := c.append(ctx, batchOf(0, half, half[1:])); err != nil || s.cursor.Load() != 2 || d.a.wal.Next() != 3 {
		t.Errorf("two large entries: cursor %d, next record %d, %v", s.cursor.Load(), d.a.wal.Next(), err)
	}
	if err := c.append(ctx, batchOf(2, noise)); !errors.Is(err, errHalted) || !c.f.isHalted() || s.cursor.Load() != 2 {
		t.Errorf("an entry too large to keep: cursor %d, %v", s.cursor.Load(), err)
	}
}

// A log that says when it wants to be asked again is not asked before, and one
// that only fails is asked more and more rarely.
func TestRetryAfterIsWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, d, s := alone(t, newMemSink())
		c := conductorOf(d.a, s)
		began := time.Now()
		if err := c.retry(ctx, "fetch failed", &ctlog.StatusError{Code: 429, RetryAfter: 20 * time.Minute}); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 20*time.Minute {
			t.Errorf("waited %v", waited)
		}
		for n := 1; n < 40; n++ {
			low, high := backoffMin/2<<min(n-1, 15), backoffMin<<min(n-1, 15)
			if got := backoff(n); got < min(low, backoffMax/2) || got > min(high, backoffMax) {
				t.Errorf("after %d failures: %v", n, got)
			}
		}
	})
}

// What a span had acknowledged, and the WAL did not give back before it was at
// its end, is lost and fetched again.
func TestLostTail(t *testing.T) {
	_, d, s := alone(t, newMemSink())
	d.a.recovered[s.id] = 20
	c := &cutter{a: d.a, fed: map[uint64]uint64{s.id: 10}}
	f := newFlush(1, nil)
	if err := c.take(f, &parsed{seq: 5, resumed: true}); err != nil {
		t.Fatal(err)
	}
	if want := []hole{{s, 10, 20}}; !slices.Equal(f.holes, want) || c.fed[s.id] != 20 {
		t.Errorf("holes %+v, fed up to %d", f.holes, c.fed[s.id])
	}
}

func TestRecordTwice(t *testing.T) {
	_, d, s := alone(t, newMemSink())
	c := &cutter{a: d.a, fed: map[uint64]uint64{s.id: 10}}
	f := newFlush(1, nil)
	if err := c.take(f, &parsed{seq: 5, span: s.id, from: 5, to: 10, rows: ledgerRows(s, 5, 10)}); err == nil || f.count != 0 {
		t.Errorf("%d rows are taken twice, %v", f.count, err)
	}
}

// A full disk under the checkpoint is waited out; anything else ends the
// process.
func TestCheckpointOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, d, _ := alone(t, newMemSink())
		for _, c := range []struct {
			err   error
			calls int
			want  error
		}{
			{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, 3, nil},
			{&os.PathError{Op: "write", Path: "x", Err: syscall.EIO}, 1, syscall.EIO},
		} {
			calls := 0
			err := d.saveRetrying(ctx, func(*checkpoint.Tx) error {
				if calls++; calls < 3 {
					return c.err
				}
				return nil
			})
			if !errors.Is(err, c.want) || calls != c.calls {
				t.Errorf("%v: %d calls, %v", c.err, calls, err)
			}
		}
	})
}

// Entries that neither the ledger nor their segment has any more are fetched
// again before the segment goes.
func TestDamagedAndRolledBack(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	d.unproven = []unproven{{seq: 1, Range: schema.Range{Log: schema.ShortID(s.log), From: 0, To: 10}}}
	if err := d.settle(ctx, wal.SegmentInfo{Name: "x", BaseSeq: 1, NextSeq: 2}); err != nil {
		t.Fatal(err)
	}
	var repairs []string
	for _, o := range d.a.spans.all() {
		if o.kind == checkpoint.KindRepair && o.from == 0 && o.to == 10 {
			repairs = append(repairs, o.kind)
		}
	}
	if len(repairs) != 1 || !hasAlarm(d.a.Status(), "lost 10 acknowledged entries") {
		t.Errorf("%d repairs, alarms %q", len(repairs), d.a.Status().Alarms)
	}
}

// A pipe cannot be synced, and the kernel says so: whoever gets no error did
// not ask it.
func TestRootsAreSynced(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	r, err := OpenRoots(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log := ctlog.Hash{1}
	if r.files[log], err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	r.dirty[log] = true
	if err := r.sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("sync: %v", err)
	}
}

// What a record claims costs no memory before it is shown.
func TestRecordLimits(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for what, decode := range map[string]func() error{
		"length": func() error {
			_, err := decodeLeaves(nil, binary.AppendUvarint(nil, maxRecordBody+1), 1)
			return err
		},
		"count": func() error {
			_, err := decodeLeaves(nil, s2.Encode(nil, make([]byte, 100)), 1<<21)
			return err
		},
	} {
		if err := decode(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("decoding nothing took %d bytes", took)
	}
	tile := make([]byte, 8+2+3+1+2+2) // one entry with a certificate of one byte
	tile[12] = 1
	b, err := new(encodeBuffers).encodeRecord(ctlog.Hash{1}, &ctlog.Batch{From: 256, Entries: make([]ctlog.Entry, 1), Tile: tile}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := decodeRecord(b); err != nil || len(r.entries) != 1 {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(b[42:], 400)
	if _, err := decodeRecord(b); err == nil || !strings.Contains(err.Error(), "of a tile of 1") {
		t.Errorf("400 entries of a tile of one: %v", err)
	}
}

func TestRingIsBounded(t *testing.T) {
	r := newRing(100)
	rec := &record{entries: make([]ctlog.Entry, 2)}
	for seq := range uint64(3) {
		r.put(t.Context(), seq, 1, rec, 60)
	}
	if r.bytes > 100 {
		t.Errorf("%d bytes are held", r.bytes)
	}
	for seq := range uint64(3) {
		a, err := r.take(t.Context(), seq)
		if err != nil || (a.rec != nil) != (seq == 0) || a.to != 2 {
			t.Errorf("record %d: %+v, %v", seq, a, err)
		}
	}
	if r.bytes != 0 {
		t.Errorf("%d bytes are held of nothing", r.bytes)
	}
}

// Evidence has two heads wherever there are two: the one that is in question,
// and one that the tree has matched.
func TestEvidenceHasBothHeads(t *testing.T) {
	_, d, s := alone(t, newMemSink())
	f := conductorOf(d.a, s).f
	good, bad := &ctlog.Head{Size: 5}, &ctlog.Head{Size: 9}
	if got := f.headsOf(bad); !slices.Equal(got, []*ctlog.Head{bad}) {
		t.Errorf("without another: %v", got)
	}
	f.match(good)
	if got := f.headsOf(bad); !slices.Equal(got, []*ctlog.Head{good, bad}) {
		t.Errorf("with another: %v", got)
	}
}

// deafSink is a server whose fences miss an insert: it still lies in some
// socket when the fence lists none.
type deafSink struct{ *memSink }

func (deafSink) Fence(context.Context, uint64) error { return nil }
func (deafSink) FenceAll(context.Context) error      { return nil }

// An insert of a former life that no fence could see takes effect after its
// rows were inserted again: its token stops it, for the cut is the very same,
// whatever the size of flushes is now.
func TestSameTokenAfterRestart(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	for nth := 1; nth <= 3; nth++ {
		bubble(t, fmt.Sprint(nth), func(t *testing.T) {
			log, sink := dial(t, l), newMemSink()
			sink.dedup = true
			c := bubbleConfig(t, deafSink{sink}, log)
			n := 0
			sink.late = func(string, *schema.Flush) bool { n++; return n >= nth }
			life(t, c, func(string) bool { return n >= nth })
			if n < nth {
				t.Fatal("no insert was late")
			}
			sink.mend()
			c.FlushRows = 50 + 450*(nth-1)
			st, _ := life(t, c, nil)
			checkDone(t, c, st, sink, log)
		})
	}
}

// Only an intent whose very cut can come again is kept; all others are fenced.
func TestIntentsAreSorted(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	for range 4 {
		if _, err := d.a.wal.Append(ctx, s.id, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	state := &checkpoint.State{Meta: checkpoint.Meta{DeliveredSeq: 1}, Intents: []checkpoint.Intent{
		{ID: 1, First: 1, Next: 3},
		{ID: 2, First: 2, Next: 4}, // of another time
		{ID: 3, First: 1, Next: 1},
		{ID: 4, First: 1, Next: 9}, // the WAL ends before
		{ID: 5, First: 1, Next: 3, Fence: true},
	}}
	changed := d.a.sortIntents(state)
	var kept, fence []uint64
	for _, in := range state.Intents {
		kept = append(kept, in.ID)
	}
	for _, in := range changed {
		if !in.Fence {
			t.Errorf("intent %d is not marked", in.ID)
		}
		fence = append(fence, in.ID)
	}
	if !slices.Equal(kept, []uint64{1}) || !slices.Equal(fence, []uint64{2, 3, 4}) || !slices.Equal(d.a.strays, []uint64{2, 3, 4, 5}) {
		t.Errorf("kept %v, marked %v, strays %v", kept, fence, d.a.strays)
	}
}

// What the WAL and the ledger have is not fetched again because the checkpoint
// is gone.
func TestLostCheckpointFetchesNothing(t *testing.T) {
	l := sharedLog(t, ctlogtest.RFC6962)
	bubble(t, "", func(t *testing.T) {
		log, sink := dial(t, l), newMemSink()
		c := bubbleConfig(t, sink, log)
		life(t, c, nil)
		remove(t, filepath.Join(c.Dir, checkpoint.FileName))
		log.ResetStats()
		st, _ := life(t, c, nil)
		if n := log.Stats().Served; n > 0 {
			t.Errorf("%d entries were fetched again", n)
		}
		for _, s := range st.Logs[0].Spans {
			if s.Kind == checkpoint.KindRepair {
				t.Errorf("a repair of [%d,%d)", s.From, s.To)
			}
		}
	})
}

func TestAuditCounts(t *testing.T) {
	sink := newMemSink()
	_, d, s := alone(t, sink)
	rows := ledgerRows(s, 0, 4*maxGaps)
	for i := range rows {
		if i%2 == 0 {
			sink.has(rows[i : i+1])
		}
	}
	f, err := (&Audit{Dir: d.a.c.Dir, Log: s.log, Ledger: sink, Spans: []SpanStatus{{Kind: checkpoint.KindBackfill, To: 4 * maxGaps, Delivered: 4 * maxGaps}}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Entries != 4*maxGaps || f.Missing != 2*maxGaps || f.Rows != 2*maxGaps || len(f.Gaps) > maxGaps || len(f.Problems) > maxGaps+10 {
		t.Errorf("%d entries, %d rows, %d missing, %d gaps, %d problems", f.Entries, f.Rows, f.Missing, len(f.Gaps), len(f.Problems))
	}
}

// Without a checkpoint, a span's mark is not above entries of a damaged record,
// which may never have been delivered.
func TestMarkStaysBelowDamage(t *testing.T) {
	ctx, d, s := alone(t, newMemSink())
	c := conductorOf(d.a, s)
	noise := make([]byte, 40<<10)
	rng := rand.NewChaCha8([32]byte{})
	for i := range uint64(4) {
		rng.Read(noise)
		if err := c.append(ctx, batchOf(i, slices.Clone(noise))); err != nil {
			t.Fatal(err)
		}
	}
	config, id := *d.a.c, s.id
	if err := d.a.Close(); err != nil {
		t.Fatal(err)
	}
	for at := 8 << 10; at < 40<<10; at += 100 {
		flip(t, segments(t, config.Dir)[0], at)
	}
	remove(t, filepath.Join(config.Dir, checkpoint.FileName))
	a, err := Open(Config{Dir: config.Dir, Sink: config.Sink, WAL: wal.Options{SegmentSize: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := a.spans.get(id); got == nil || got.cursor.Load() != 4 || got.delivered.Load() != 0 {
		t.Errorf("the span comes back as %+v", got.save())
	}
}
