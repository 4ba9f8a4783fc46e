package engine

import (
	"fmt"
)

// writeConfig placeholder to be replaced.
func configXML(memory int64) string {
	return fmt.Sprintf(`<clickhouse>
  <max_server_memory_usage>%d</max_server_memory_usage>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
  <merges_mutations_memory_usage_soft_limit>%d</merges_mutations_memory_usage_soft_limit>
  <mark_cache_size>67108864</mark_cache_size>
  <index_mark_cache_size>16777216</index_mark_cache_size>
  <primary_index_cache_size>67108864</primary_index_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <compiled_expression_cache_size>8388608</compiled_expression_cache_size>
  <max_thread_pool_size>200</max_thread_pool_size>
  <merge_tree>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    <old_parts_lifetime>480</old_parts_lifetime>
    <merge_max_block_size>4096</merge_max_block_size>
    <merge_max_block_size_bytes>4194304</merge_max_block_size_bytes>
    <max_bytes_to_merge_at_max_space_in_pool>21474836480</max_bytes_to_merge_at_max_space_in_pool>
    <min_bytes_for_wide_part>33554432</min_bytes_for_wide_part>
  </merge_tree>
</clickhouse>
`, memory, memory*5/14)
}
