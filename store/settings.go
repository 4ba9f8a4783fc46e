package store

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"ctappliance/schema"
)

// wantSettings are the settings that every table must have been made with: an
// acknowledged insert is on disk (the first three), and parts that were merged
// away stay long enough to be there after a power cut that takes the merged
// part (the last, in seconds).
var wantSettings = map[string]string{
	"fsync_after_insert":            "1",
	"fsync_part_directory":          "1",
	"min_rows_to_fsync_after_merge": "1",
	"old_parts_lifetime":            "480",
}

// wantLedgerSettings are those of the ledger besides.
var wantLedgerSettings = map[string]string{
	"non_replicated_deduplication_window": "10000",
}

var simpleAggregate = regexp.MustCompile(`^SimpleAggregateFunction\([a-zA-Z]+, (.*)\)$`)

// checkTables reads settings and columns of all tables back.
func (s *Store) checkTables(ctx context.Context) error {
	rows, err := s.rows(ctx, 2, "SELECT name, engine_full FROM system.tables WHERE database = {db:String}", Param("db", s.target.database))
	if err != nil {
		return fmt.Errorf("reading table settings: %w", err)
	}
	have := map[string]map[string]string{}
	for _, r := range rows {
		have[r[0]] = tableSettings(r[1])
	}
	rows, err = s.rows(ctx, 3, "SELECT table, name, type FROM system.columns WHERE database = {db:String} AND default_kind IN ('', 'DEFAULT')", Param("db", s.target.database))
	if err != nil {
		return fmt.Errorf("reading table columns: %w", err)
	}
	types := map[string]string{}
	for _, r := range rows {
		t := r[2]
		if m := simpleAggregate.FindStringSubmatch(t); m != nil {
			t = m[1]
		}
		types[r[0]+"."+r[1]] = t
	}
	for _, b := range schema.Tables() {
		if err := checkSettings(b.Table, have[b.Table], wantSettings); err != nil {
			return err
		}
		if b.Table == "ledger" {
			if err := checkSettings(b.Table, have[b.Table], wantLedgerSettings); err != nil {
				return err
			}
		}
		for _, c := range b.Columns {
			switch t, ok := types[b.Table+"."+c.Name]; {
			case !ok:
				return fmt.Errorf("%w: %s has no column %s: see `ctappliance schema print`", ErrSchema, b.Table, c.Name)
			case t != c.Type:
				return fmt.Errorf("%w: column %s of %s is %s, should be %s: see `ctappliance schema print`", ErrSchema, c.Name, b.Table, safeLine(t, 100), c.Type)
			}
		}
	}
	return nil
}

func checkSettings(table string, have, want map[string]string) error {
	for _, name := range sortedKeys(want) {
		if have[name] != want[name] {
			found := have[name]
			if found == "" {
				found = "not set"
			}
			return fmt.Errorf("%w: table %s has %s = %s, and what it acknowledges could be lost: ALTER TABLE … MODIFY SETTING %s = %s",
				ErrSettings, table, name, safeLine(found, 40), name, want[name])
		}
	}
	return nil
}

// tableSettings takes the settings out of system.tables.engine_full, such as
// "MergeTree ORDER BY id SETTINGS a = 1, b = 'x'".
func tableSettings(engine string) map[string]string {
	settings := map[string]string{}
	_, list, _ := strings.Cut(engine, " SETTINGS ")
	for _, kv := range strings.Split(list, ", ") {
		if k, v, ok := strings.Cut(kv, " = "); ok {
			settings[k] = strings.Trim(v, "'")
		}
	}
	return settings
}
