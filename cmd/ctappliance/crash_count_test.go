//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ctappliance/schema"
	"ctappliance/store"
)

// crashCount is what the ledger holds, counted here and not by the engine.
type crashCount struct {
	entries   uint64 // that the logs hold
	rows      uint64 // in the ledger
	lost      uint64 // entries without a row
	doubled   uint64 // rows too many
	foreign   uint64 // rows of entries that no log has
	refetched uint64 // entries that the logs served more than once, each time counted
	orphans   uint64 // rows whose rows in other tables are missing
}

func (c *crashCount) add(o crashCount) {
	c.entries += o.entries
	c.rows += o.rows
	c.lost += o.lost
	c.doubled += o.doubled
	c.foreign += o.foreign
	c.refetched += o.refetched
	c.orphans += o.orphans
}

// count compares the ledger with the logs: every row's index is read, without
// FINAL, and struck off the list of those that the log's own process says it
// has.
func (h *crashHarness) count(ctx context.Context) (c crashCount) {
	t := h.t
	var access storeAccess
	if err := control(ctx, filepath.Join(h.dir, "data"), "GET", "/store", nil, &access); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(ctx, store.Config{DSN: access.DSN, ReadOnly: true, Timeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	query := func(sql string) [][]string {
		answer, err := st.Query(ctx, 0, sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return answer.Rows
	}
	number := func(sql string) uint64 {
		rows := query(sql)
		n, err := strconv.ParseUint(rows[0][0], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return n
	}
	var ids []string
	for _, l := range h.logs {
		stats, err := l.stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var served struct{ Never uint64 }
		if err := l.ask(ctx, http.MethodGet, "served", &served); err != nil {
			t.Fatal(err)
		}
		if served.Never > 0 {
			t.Errorf("%s never served %d of its entries", l.Name, served.Never)
		}
		id := strconv.FormatUint(schema.ShortID(schema.Hash(l.LogID)), 10)
		ids = append(ids, id)
		times := make([]uint32, stats.Size)
		before := c
		c.entries += stats.Size
		c.refetched += stats.Refetched
		const page = 1 << 20
		for from := uint64(0); ; from += page {
			// By position, so that every row comes once whatever it holds.
			rows := query(fmt.Sprintf("SELECT idx FROM ct.ledger WHERE log_id = %s ORDER BY idx LIMIT %d OFFSET %d", id, page, from))
			for _, row := range rows {
				c.rows++
				idx, err := strconv.ParseUint(row[0], 10, 64)
				switch {
				case err != nil:
					t.Fatal(err)
				case idx >= stats.Size:
					c.foreign++
				default:
					times[idx]++
				}
			}
			if len(rows) < page {
				break
			}
		}
		var first string
		for idx, n := range times {
			if n != 1 && first == "" {
				first = fmt.Sprintf("; the first is entry %d, which has %d rows", idx, n)
			}
			if n == 0 {
				c.lost++
			} else {
				c.doubled += uint64(n) - 1
			}
		}
		if lost, doubled, foreign := c.lost-before.lost, c.doubled-before.doubled, c.foreign-before.foreign; lost+doubled+foreign > 0 {
			t.Errorf("%s has %d entries: %d lost, %d doubled, %d not its own%s", l.Name, stats.Size, lost, doubled, foreign, first)
		}
	}
	if n := number("SELECT count() FROM ct.ledger WHERE log_id NOT IN (" + strings.Join(ids, ", ") + ")"); n > 0 {
		c.foreign += n
		t.Errorf("the ledger has %d rows of logs that nobody follows", n)
	}
	for _, d := range dependentChecks {
		if n := number(d.sql); n > 0 {
			c.orphans += n
			t.Errorf("%s: %d", d.what, n)
		}
	}
	return c
}

// dependentChecks count what a row of the ledger promises and other tables
// lack. Each is 0 where nothing was lost.
var dependentChecks = []struct{ what, sql string }{
	{"entries in the ledger whose certificate is not in certs, or not as this kind of entry",
		`SELECT count() FROM ct.ledger AS l LEFT JOIN (SELECT tbs10, groupBitOr(seen) AS kinds FROM ct.certs GROUP BY tbs10) AS c ON l.tbs10 = c.tbs10
		WHERE l.status < 'refused' AND bitAnd(c.kinds, multiIf(l.entry_type = 'x509', 5, l.entry_type = 'precert', 10, 16)) = 0`},
	{"entries that are not ok and not among the problems",
		"SELECT count() FROM ct.ledger WHERE status != 'ok' AND (log_id, idx) NOT IN (SELECT log_id, idx FROM ct.problems)"},
	{"certificates without their profile",
		"SELECT count() FROM ct.certs WHERE profile_id != 0 AND profile_id NOT IN (SELECT id FROM ct.profiles) OR pre_profile_id != 0 AND pre_profile_id NOT IN (SELECT id FROM ct.profiles)"},
	{"certificates that none of their names leads to",
		"SELECT count() FROM ct.certs WHERE notEmpty(names) AND tbs8 NOT IN (SELECT tbs8 FROM ct.name_certs)"},
	{"names of certificates that are not in names",
		"SELECT count() FROM ct.name_certs WHERE (rname, wildcard) NOT IN (SELECT rname, wildcard FROM ct.names)"},
	{"chain certificates that are not in issuers",
		"SELECT count() FROM (SELECT DISTINCT arrayJoin(chain) AS sha FROM ct.profiles) WHERE sha NOT IN (SELECT sha256 FROM ct.issuers)"},
}
