package checkpoint

import (
	"bytes"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImpossiblePages: pages whose checksums are right, where they have one,
// but which make no sense together. Each is refused for its own reason before
// bbolt believes it.
func TestImpossiblePages(t *testing.T) {
	dir := t.TempDir()
	sample(t, dir)
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPages(whole); err != nil {
		t.Fatal(err)
	}
	size := uint64(order.Uint32(whole[pageHeader+8:]))
	metaOf := func(b []byte, i uint64) []byte { return b[i*size+pageHeader:][:metaSize] }
	newest := uint64(0)
	if order.Uint64(metaOf(whole, 1)[48:]) > order.Uint64(metaOf(whole, 0)[48:]) {
		newest = 1
	}
	root := order.Uint64(metaOf(whole, newest)[16:])
	free := order.Uint64(metaOf(whole, newest)[32:])
	page := func(b []byte, id uint64) []byte { return b[id*size:][:size] }
	setMeta := func(b []byte, at int, v uint64) {
		m := metaOf(b, newest)
		order.PutUint64(m[at:], v)
		sum := fnv.New64a()
		sum.Write(m[:56])
		order.PutUint64(m[56:], sum.Sum64())
	}
	for what, c := range map[string]struct {
		change func(b []byte)
		want   string
	}{
		"root beyond the end":     {func(b []byte) { setMeta(b, 16, 1<<40) }, "is outside the file"},
		"root in a meta page":     {func(b []byte) { setMeta(b, 16, 1) }, "is outside the file"},
		"more pages than bytes":   {func(b []byte) { setMeta(b, 40, 1<<40) }, "bytes for"},
		"another page's number":   {func(b []byte) { order.PutUint64(page(b, root), root+1) }, "not its own"},
		"longer than the file":    {func(b []byte) { order.PutUint32(page(b, root)[12:], 1<<20) }, "not its own"},
		"free list and root":      {func(b []byte) { setMeta(b, 32, root) }, "is used twice"},
		"no free list":            {func(b []byte) { setMeta(b, 32, noFreelist) }, "no list of free pages"},
		"neither branch nor leaf": {func(b []byte) { order.PutUint16(page(b, root)[8:], 3) }, "does not hold"},
		"more elements than room": {func(b []byte) { order.PutUint16(page(b, root)[10:], 0xffff) }, "does not hold"},
		"an element outside":      {func(b []byte) { order.PutUint32(page(b, root)[pageHeader+4:], 1<<30) }, "does not hold"},
		"an element in itself":    {func(b []byte) { order.PutUint32(page(b, root)[pageHeader+4:], 0) }, "does not hold"},
		"keys out of order": {func(b []byte) {
			at := bytes.Index(page(b, root), bucketHeads)
			page(b, root)[at] = 'z'
		}, "out of order"},
		"a page in use is free":    {func(b []byte) { order.PutUint64(page(b, free)[pageHeader:], root) }, "is free and is not"},
		"a page beyond is free":    {func(b []byte) { order.PutUint64(page(b, free)[pageHeader:], 1<<40) }, "is free and is not"},
		"more free than there are": {func(b []byte) { order.PutUint16(page(b, free)[10:], 0xfffe) }, "is not readable"},
		"a page of nobody": {func(b []byte) {
			order.PutUint16(page(b, free)[10:], order.Uint16(page(b, free)[10:])-1)
		}, "belongs to nothing"},
	} {
		b := bytes.Clone(whole)
		c.change(b)
		if err := checkPages(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want that something %q", what, err, c.want)
		}
	}
	w := &pages{b: whole, size: size, n: uint64(len(whole)) / size, seen: map[uint64]bool{}}
	if err := w.elements(root, page(whole, root), maxDepth+1); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("too deep: %v", err)
	}
}
