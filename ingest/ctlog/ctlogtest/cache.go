package ctlogtest

import (
	"container/list"
	"sync"
)

// cache keeps what is dear to make, up to a number of bytes, and makes each
// thing once however many ask for it at the same time.
type cache[V any] struct {
	limit int64
	make  func(key uint64) (V, int64) // the value and its size in bytes

	mu     sync.Mutex
	items  map[uint64]*cached[V]
	recent list.List // of *cached[V], most recently used first
	bytes  int64
}

type cached[V any] struct {
	key   uint64
	once  sync.Once
	value V
	bytes int64
	at    *list.Element
}

func newCache[V any](limit int64, make func(uint64) (V, int64)) *cache[V] {
	return &cache[V]{limit: limit, make: make, items: map[uint64]*cached[V]{}}
}

func (c *cache[V]) get(key uint64) V {
	c.mu.Lock()
	it := c.items[key]
	if it == nil {
		it = &cached[V]{key: key}
		it.at = c.recent.PushFront(it)
		c.items[key] = it
	} else {
		c.recent.MoveToFront(it.at)
	}
	c.mu.Unlock()
	it.once.Do(func() {
		v, size := c.make(key)
		it.value = v
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.items[key] != it {
			return // pushed out while it was being made
		}
		it.bytes = size
		c.bytes += size
		for c.bytes > c.limit && c.recent.Len() > 1 {
			old := c.recent.Back().Value.(*cached[V])
			c.recent.Remove(old.at)
			delete(c.items, old.key)
			c.bytes -= old.bytes
		}
	})
	return it.value
}

// full reports whether one more thing may push another out.
func (c *cache[V]) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.items) > 0 && c.bytes+c.bytes/int64(len(c.items)) > c.limit
}
