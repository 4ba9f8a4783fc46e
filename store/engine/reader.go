package engine

import (
	"strconv"
	"strings"
)

// readerLimits bound what the read-only user may use per statement.
type readerLimits struct {
	seconds int64 // of execution
	memory  int64 // bytes
	result  int64 // bytes of result, uncompressed
	threads int64
}

// readerSettings are the settings the read-only user may give; a server whose
// user has readonly=1 would refuse them all, and with them every client that
// sets a time limit of its own. None of them opens anything: they cap work, or
// shape the result.
var readerSettings = map[string]bool{
	"max_execution_time": true, "max_result_rows": true, "max_result_bytes": true, "max_rows_to_read": true,
	"max_memory_usage": true, "max_threads": true, "max_block_size": true, "result_overflow_mode": true,
	"read_overflow_mode": true, "timeout_overflow_mode": true, "extremes": true, "session_timezone": true,
	"date_time_output_format": true, "network_compression_method": true, "network_zstd_compression_level": true,
	"join_use_nulls": true, "final": true, "limit": true, "offset": true,
}

// readerWords are names that reach outside the engine. readonly=1 stops most of
// them as table functions of a SELECT, but not the scalar function file, nor
// DESCRIBE or EXPLAIN of a table function, nor functions passed by name. The
// sandbox is the wall; this is the sign in front of it, and all there is on a
// system without one. Our tables have no columns of these names.
var readerWords = map[string]bool{
	"file": true, "filecluster": true, "url": true, "urlcluster": true, "s3": true, "s3cluster": true, "gcs": true, "oss": true, "cosn": true,
	"hdfs": true, "hdfscluster": true, "azureblobstorage": true, "azureblobstoragecluster": true, "azure": true, "remote": true, "remotesecure": true, "cluster": true,
	"clusterallreplicas": true, "mysql": true, "postgresql": true, "mongodb": true, "redis": true, "sqlite": true, "jdbc": true, "odbc": true,
	"executable": true, "filesystem": true, "python": true, "arrowflight": true, "ytsaurus": true, "input": true,
	"deltalake": true, "hudi": true, "iceberg": true, "paimon": true, "hive": true,
	"hascolumnintable": true, "catboostevaluate": true, "identifier": true,
	"outfile": true, "infile": true,
}

// readerPrefixes are families of such names.
var readerPrefixes = []string{"iceberg", "deltalake", "paimon", "hudi"}

// apply refuses what a reader may not say and clamps what it may.
func (l readerLimits) apply(req *request) error {
	if req.stmt.insert {
		return exceptionf(codeReadonly, "READONLY", "%s: Cannot execute query in readonly mode", req.user)
	}
	lex := &lexer{s: req.stmt.sql}
	for {
		t, ok := lex.next()
		if !ok {
			break
		}
		if (t.kind == tokWord || t.kind == tokQuoted) && reachesOut(t.text) {
			return exceptionf(codeReadonly, "READONLY", "%s: %.40q is not available to the read-only user", req.user, t.text)
		}
	}
	caps := map[string]int64{"max_execution_time": l.seconds, "max_memory_usage": l.memory, "max_result_bytes": l.result, "max_threads": l.threads}
	out := make([]setting, 0, len(req.settings)+len(caps))
	for _, s := range req.settings {
		if !readerSettings[s.name] && !strings.HasPrefix(s.name, "output_format_") && !strings.HasPrefix(s.name, "format_") {
			return exceptionf(codeReadonly, "READONLY", "Cannot modify '%.100s' setting in readonly mode", s.name)
		}
		if strings.Contains(s.name, "schema") { // format_schema names a file
			return exceptionf(codeReadonly, "READONLY", "Cannot modify '%.100s' setting in readonly mode", s.name)
		}
		limit, capped := caps[s.name]
		v, err := strconv.ParseInt(s.value, 10, 64)
		if capped && (err != nil || v <= 0 || v > limit && limit > 0) {
			continue // ours stands
		}
		if capped {
			delete(caps, s.name)
		}
		out = append(out, s)
	}
	for name, v := range caps {
		if v > 0 {
			out = append(out, setting{name, strconv.FormatInt(v, 10)})
		}
	}
	req.settings = out
	return nil
}

func reachesOut(word string) bool {
	w := strings.ToLower(word)
	if readerWords[w] {
		return true
	}
	for _, p := range readerPrefixes {
		if strings.HasPrefix(w, p) {
			return true
		}
	}
	return false
}
