//go:build linux || darwin

package embedded

import (
	"fmt"
	"os"
	"path/filepath"
)

// serverConfig is the engine's own configuration. Caches and pools are sized
// for one small machine: the defaults are meant for big servers. System log
// tables stay off because no section configures them.
const serverConfig = `<clickhouse>
  <timezone>UTC</timezone>
  <users_config>%s</users_config>
  <logger><level>%s</level><console>1</console></logger>
  <max_server_memory_usage>%d</max_server_memory_usage>
  <mark_cache_size>33554432</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_mark_cache_size>8388608</index_mark_cache_size>
  <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
  <primary_index_cache_size>33554432</primary_index_cache_size>
  <vector_similarity_index_cache_size>67108864</vector_similarity_index_cache_size>
  <iceberg_metadata_files_cache_size>0</iceberg_metadata_files_cache_size>
  <query_condition_cache_size>8388608</query_condition_cache_size>
  <query_cache><max_size_in_bytes>16777216</max_size_in_bytes></query_cache>
  <mmap_cache_size>128</mmap_cache_size>
  <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
  <max_thread_pool_size>512</max_thread_pool_size>
  <max_thread_pool_free_size>8</max_thread_pool_free_size>
  <max_io_thread_pool_size>16</max_io_thread_pool_size>
  <max_io_thread_pool_free_size>0</max_io_thread_pool_free_size>
  <background_pool_size>2</background_pool_size>
  <os_threads_nice_value_merge_mutate>15</os_threads_nice_value_merge_mutate>
  <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
  <background_common_pool_size>2</background_common_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_buffer_flush_schedule_pool_size>1</background_buffer_flush_schedule_pool_size>
  <background_distributed_schedule_pool_size>1</background_distributed_schedule_pool_size>
  <background_message_broker_schedule_pool_size>1</background_message_broker_schedule_pool_size>
  <tables_loader_foreground_pool_size>2</tables_loader_foreground_pool_size>
  <tables_loader_background_pool_size>2</tables_loader_background_pool_size>
  <async_insert_threads>1</async_insert_threads>
  <compression>
    <case><min_part_size>268435456</min_part_size><min_part_size_ratio>0</min_part_size_ratio><method>zstd</method><level>1</level></case>
  </compression>
  <merge_tree>
    <parts_to_delay_insert>2000</parts_to_delay_insert>
    <parts_to_throw_insert>6000</parts_to_throw_insert>
    <max_bytes_to_merge_at_max_space_in_pool>16106127360</max_bytes_to_merge_at_max_space_in_pool>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
`

// usersConfig gives the engine's one account everything but the reach beyond
// its data: no files, URLs or other databases, no executables, whoever asks.
const usersConfig = `<clickhouse>
  <profiles><default>
    <max_memory_usage>%d</max_memory_usage>
    <max_bytes_before_external_group_by>%d</max_bytes_before_external_group_by>
    <max_bytes_before_external_sort>%d</max_bytes_before_external_sort>
    <log_queries>0</log_queries>
  </default></profiles>
  <users><default>
    <password></password>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>
      <query>GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, CREATE TEMPORARY TABLE, CREATE FUNCTION, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY, dictGet, SYSTEM ON *.*</query>
    </grants>
  </default></users>
  <quotas><default></default></quotas>
</clickhouse>
`

// writeConfig writes the two files; they hold no secrets.
func writeConfig(cfg childConfig) (string, error) {
	dir := filepath.Join(cfg.DataDir, "config")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("write engine configuration: %w", err)
	}
	level := "fatal"
	if cfg.Verbose {
		level = "warning"
	}
	limit := cfg.MaxMemory
	if limit <= 0 {
		limit = defaultMaxMemory
	}
	users, main := filepath.Join(dir, "users.xml"), filepath.Join(dir, "config.xml")
	for path, text := range map[string]string{
		users: fmt.Sprintf(usersConfig, limit*3/4, limit/4, limit/4),
		main:  fmt.Sprintf(serverConfig, users, level, limit),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write engine configuration: %w", err)
		}
	}
	return main, nil
}
