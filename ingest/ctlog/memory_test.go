package ctlog

import (
	"bytes"
	"reflect"
	"testing"
)

// TestMemory decodes a page and a tile into memory that was given back: the
// entries are the same, until they are given back themselves.
func TestMemory(t *testing.T) {
	scribble.Store(true)
	defer scribble.Store(false)
	l := newFakeLog(t, 256, true)
	tile := l.dataTile(0, 256)
	for name, decode := range map[string]func(m *Memory) ([]Entry, error){
		"plain tile": func(m *Memory) ([]Entry, error) { return DecodeTileIn(m, 0, tile, false) },
		"tile":       func(m *Memory) ([]Entry, error) { return DecodeTileIn(m, 0, gz(tile), true) },
		"page": func(m *Memory) ([]Entry, error) {
			entries, _, err := decodeEntries(l.entriesJSON(0, 256), 256, newChainCache(), m)
			return entries, err
		},
	} {
		want, err := decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			m := new(Memory)
			got, err := decode(m)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, round %d: other entries, or %v", name, round, err)
			}
			if len(m.bufs) == 0 {
				t.Fatalf("%s: its memory is not known", name)
			}
			m.Release()
			m.Release()
			for i, e := range got {
				if !void(e.Leaf) || !void(e.Precert) {
					t.Fatalf("%s, round %d: entry %d outlives its memory", name, round, i)
				}
			}
		}
	}
	if b := new(Memory).Bytes(100); len(b) != 100 {
		t.Errorf("%d bytes, want 100", len(b))
	}
	var none *Memory
	none.Release()
	if b := none.Bytes(7); len(b) != 7 {
		t.Errorf("%d bytes, want 7", len(b))
	}
}

func void(b []byte) bool { return len(bytes.Trim(b, "\xdb")) == 0 }
