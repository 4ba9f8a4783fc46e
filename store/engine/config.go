package engine

import (
	"fmt"
	"strings"
)

// Sizes for a machine of 4 GB; they shrink with the memory given.
const (
	defaultMemory = 1_400_000_000
	minMemory     = 400_000_000 // the engine itself takes 210 MB before it does anything
)

// keepFree is the space, in bytes, that must be free on the disk beside what an
// insert or a merge is expected to write, or it is refused. Where a write meets
// a full disk all the same the library ignores it, and a part without content
// replaces others.
const keepFree = 64 << 20

// configXML is the engine's configuration for a memory cap in bytes. The
// engine's own defaults are made for big machines: three caches of 5 GB each,
// and merge pools that assume sixteen threads.
//
// What goes on where nothing is to be done took half a percent of a core, as
// much as all the rest in a quiet tail: the library reads its own memory from
// the kernel twenty times a second, which here it does twice, and asks for work
// for each table's merges every second. An insert and a merge ask at once in any
// case; what is left to the pause is the removal of parts whose lifetime is over.
//
// old_parts_lifetime is 480 s as on a server; the library's default is 0, and
// then a part replaced by a merge whose result has not reached the disk is
// gone already.
func configXML(memory int64) string {
	scaled := func(n int64) int64 { return min(n, n*memory/defaultMemory) }
	var b strings.Builder
	put := func(indent, name string, v int64) { fmt.Fprintf(&b, "%s<%s>%d</%s>\n", indent, name, v, name) }
	b.WriteString("<clickhouse>\n")
	put("  ", "max_server_memory_usage", memory)
	put("  ", "background_pool_size", 2)
	put("  ", "background_merges_mutations_concurrency_ratio", 1)
	put("  ", "merges_mutations_memory_usage_soft_limit", memory*5/14)
	put("  ", "mark_cache_size", scaled(64<<20))
	put("  ", "index_mark_cache_size", scaled(16<<20))
	put("  ", "primary_index_cache_size", scaled(64<<20))
	put("  ", "uncompressed_cache_size", 0)
	put("  ", "compiled_expression_cache_size", scaled(8<<20))
	put("  ", "max_thread_pool_size", 200)
	put("  ", "memory_worker_period_ms", 500)
	put("  ", "background_processing_pool_thread_sleep_seconds_if_nothing_to_do", 5)
	b.WriteString("  <storage_configuration><disks><default>\n")
	put("    ", "keep_free_space_bytes", keepFree)
	b.WriteString("  </default></disks></storage_configuration>\n")
	b.WriteString("  <merge_tree>\n")
	put("    ", "number_of_free_entries_in_pool_to_execute_mutation", 1)
	put("    ", "number_of_free_entries_in_pool_to_lower_max_size_of_merge", 1)
	put("    ", "number_of_free_entries_in_pool_to_execute_optimize_entire_partition", 1)
	put("    ", "old_parts_lifetime", 480)
	put("    ", "merge_max_block_size", 4096)
	put("    ", "merge_max_block_size_bytes", 4<<20)
	put("    ", "max_bytes_to_merge_at_max_space_in_pool", 20<<30)
	put("    ", "min_bytes_for_wide_part", 32<<20)
	b.WriteString("  </merge_tree>\n</clickhouse>\n")
	return b.String()
}

// memoryFor chooses the cap: what is configured, else 1.4 GB or a third of the
// machine, whichever is less.
func memoryFor(configured, machine int64) (int64, error) {
	if configured != 0 && configured < minMemory {
		return 0, fmt.Errorf("engine memory %d bytes: the engine needs at least %d", configured, minMemory)
	}
	if configured != 0 {
		return configured, nil
	}
	if machine == 0 {
		return defaultMemory, nil
	}
	return max(minMemory, min(defaultMemory, machine/3)), nil
}
