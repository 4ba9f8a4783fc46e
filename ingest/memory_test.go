package ingest

import (
	"bytes"
	"fmt"
	"testing"

	"ctappliance/ingest/ctlog"
	"ctappliance/ingest/ctlog/ctlogtest"
)

// In all tests of this package entries' memory is written over when it is given
// back: whatever looks at it later finds no certificate.
func init() { ctlog.Scribble() }

// TestRowsHaveTheirBytes: what rows refer to is given back when they are
// columns, and not before, whether it came through the ring or from disk.
func TestRowsHaveTheirBytes(t *testing.T) {
	for _, ring := range []int64{64 << 20, 100 << 10} {
		for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
			bubble(t, fmt.Sprintf("%v, ring of %d bytes", kind, ring), func(t *testing.T) {
				l := dial(t, sharedLog(t, kind))
				sink := newMemSink()
				c := bubbleConfig(t, sink, l)
				c.RingMemory = ring
				life(t, c, nil)
				size, _, _ := l.Head()
				for i := range size {
					row, ok := sink.rows[entryKey{l.id, i}]
					if !ok || !bytes.Equal(row.Leaf, l.Leaf(i)) {
						t.Fatalf("entry %d: there %v, with %d bytes that are not its leaf", i, ok, len(row.Leaf))
					}
				}
			})
		}
	}
}
