package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"syscall"
	"time"
)

// bbolt maps its file and believes what it finds there: one flipped byte may
// end the process with a fault that nothing can catch, lead it around in
// circles, or take it back to the transaction before the last. So the file is
// walked here first, in memory and with every bound checked, while its lock is
// held.
//
//	page   id u64, flags u16, count u16, overflow u32, then by flags:
//	meta   magic u32, version u32, page size u32, flags u32, root bucket
//	       (page u64, sequence u64), freelist page u64, pages u64,
//	       transaction u64, FNV-1a of the 56 bytes before
//	branch count × (position u32, key size u32, page u64)
//	leaf   count × (flags u32, position u32, key size u32, value size u32)
//
// Numbers are in the machine's order.

const (
	pageHeader   = 16
	metaSize     = 64
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10
	noFreelist   = 1<<64 - 1
	maxDepth     = 32
)

var order = binary.NativeEndian

// checkFile says what is wrong with the pages of a checkpoint; nil if nothing
// is. It returns ErrInUse if another process has the file.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening checkpoint: %w", err)
	}
	defer f.Close() // gives the lock back too
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockWait / 20) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("locking checkpoint: %w", err)
		}
		if time.Now().After(deadline) {
			return ErrInUse
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading checkpoint: %w", err)
	}
	if err := checkPages(b); err != nil {
		return &DamagedError{path, err.Error()}
	}
	return nil
}

// pages is a walk through a file.
type pages struct {
	b    []byte
	size uint64 // of a page
	n    uint64 // pages in use
	seen map[uint64]bool
}

func checkPages(b []byte) error {
	if len(b) < 2*1024 {
		return errors.New("it is too short")
	}
	w := &pages{b: b, size: uint64(order.Uint32(b[pageHeader+8:])), seen: map[uint64]bool{0: true, 1: true}}
	if w.size < 1024 || w.size > 64<<10 || w.size&(w.size-1) != 0 || uint64(len(b)) < 2*w.size {
		return errors.New("its first page is not readable")
	}
	var newest []byte
	for i := range uint64(2) {
		meta, err := w.meta(i)
		if err != nil {
			return err
		}
		if newest == nil || order.Uint64(meta[48:]) > order.Uint64(newest[48:]) {
			newest = meta
		}
	}
	if w.n = order.Uint64(newest[40:]); w.n < 2 || w.n > uint64(len(b))/w.size {
		return fmt.Errorf("it has %d bytes for %d pages", len(b), w.n)
	}
	if err := w.bucket(order.Uint64(newest[16:]), 0); err != nil {
		return err
	}
	if err := w.freelist(order.Uint64(newest[32:])); err != nil {
		return err
	}
	for id := range w.n {
		if !w.seen[id] {
			return fmt.Errorf("page %d belongs to nothing", id)
		}
	}
	return nil
}

// meta checks one of the two meta pages. Both must be whole: bbolt would fall
// back to the older one and be a transaction behind what was promised.
func (w *pages) meta(i uint64) ([]byte, error) {
	page := w.b[i*w.size:]
	meta := page[pageHeader : pageHeader+metaSize]
	sum := fnv.New64a()
	sum.Write(meta[:56])
	if order.Uint64(page) != i || order.Uint16(page[8:]) != flagMeta ||
		order.Uint32(meta) != boltMagic || order.Uint32(meta[4:]) != boltVersion || uint64(order.Uint32(meta[8:])) != w.size || order.Uint64(meta[56:]) != sum.Sum64() {
		return nil, fmt.Errorf("meta page %d is not readable", i)
	}
	return meta, nil
}

// take returns the bytes of a page and its overflow, once.
func (w *pages) take(id uint64) ([]byte, error) {
	if id < 2 || id >= w.n {
		return nil, fmt.Errorf("page %d is outside the file", id)
	}
	page := w.b[id*w.size:]
	more := uint64(order.Uint32(page[12:]))
	if order.Uint64(page) != id || more >= w.n-id {
		return nil, fmt.Errorf("page %d has a header that is not its own", id)
	}
	for i := id; i <= id+more; i++ {
		if w.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		w.seen[i] = true
	}
	return page[:(more+1)*w.size], nil
}

func (w *pages) bucket(id uint64, depth int) error {
	page, err := w.take(id)
	if err != nil {
		return err
	}
	return w.elements(id, page, depth)
}

// elements checks the keys of a page and goes on to what they lead to. Inline
// buckets are pages within a value.
func (w *pages) elements(id uint64, page []byte, depth int) error {
	if depth > maxDepth {
		return errors.New("its pages are nested too deeply")
	}
	bad := fmt.Errorf("page %d does not hold what its header says", id)
	flags, count := order.Uint16(page[8:]), uint64(order.Uint16(page[10:]))
	if flags != flagBranch && flags != flagLeaf || pageHeader+16*count > uint64(len(page)) {
		return bad
	}
	var last []byte
	for i := range count {
		at := pageHeader + 16*i
		e := page[at:]
		pos, key, value := uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])), uint64(0)
		if flags == flagLeaf {
			pos, key, value = uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
		}
		if pos < 16*(count-i) || at+pos+key+value > uint64(len(page)) {
			return bad
		}
		k := page[at+pos : at+pos+key]
		v := page[at+pos+key : at+pos+key+value]
		if i > 0 && bytes.Compare(last, k) >= 0 {
			return fmt.Errorf("the keys of page %d are out of order", id)
		}
		last = k
		var err error
		switch {
		case flags == flagBranch:
			err = w.bucket(order.Uint64(e[8:]), depth+1)
		case order.Uint32(e) == 0:
		case order.Uint32(e) != 1 || len(v) < 16:
			err = bad
		case order.Uint64(v) != 0:
			err = w.bucket(order.Uint64(v), depth+1)
		case len(v) < 16+pageHeader:
			err = bad
		default:
			err = w.elements(id, v[16:], depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *pages) freelist(id uint64) error {
	if id == noFreelist {
		return errors.New("it has no list of free pages")
	}
	page, err := w.take(id)
	if err != nil {
		return err
	}
	count, ids := uint64(order.Uint16(page[10:])), page[pageHeader:]
	if count == 0xffff {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(page[8:]) != flagFreelist || count > uint64(len(ids))/8 {
		return errors.New("its list of free pages is not readable")
	}
	for i := range count {
		free := order.Uint64(ids[8*i:])
		if free < 2 || free >= w.n || w.seen[free] {
			return fmt.Errorf("page %d is free and is not", free)
		}
		w.seen[free] = true
	}
	return nil
}
