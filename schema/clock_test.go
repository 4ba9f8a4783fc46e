package schema

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oldDatabase has every table, and a table meta that another release has
// written, at a time that our clock has yet to reach.
type oldDatabase struct {
	written int64
	inserts []string
}

func (d *oldDatabase) Exec(_ context.Context, q string) error {
	if strings.Contains(q, ".meta (key, value, updated)") {
		d.inserts = append(d.inserts, q)
	}
	return nil
}

func (d *oldDatabase) Rows(_ context.Context, q string) ([][]string, error) {
	if strings.Contains(q, ".meta FINAL") {
		at := strconv.FormatInt(d.written, 10)
		return [][]string{{"created", "long ago", "1"}, {"writer_id", "w", "2"}, {"migration/001.sql", "another", at}}, nil
	}
	return [][]string{{"there"}}, nil
}

// What a migration writes down wins over what is there, also where the clock
// was set back: the newest row of a key counts.
func TestClockSetBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	db := &oldDatabase{written: now.AddDate(10, 0, 0).UnixMilli()}
	if _, err := Apply(t.Context(), db, "ct", Owner{ID: "w", Now: now}); err != nil {
		t.Fatal(err)
	}
	if len(db.inserts) == 0 {
		t.Fatal("nothing was written down")
	}
	at := regexp.MustCompile(`toInt64\((\d+)\)`)
	for _, q := range db.inserts {
		m := at.FindStringSubmatch(q)
		if m == nil {
			t.Fatalf("no time in %s", q)
		}
		if got, err := strconv.ParseInt(m[1], 10, 64); err != nil || got <= db.written {
			t.Errorf("written as of %d, what is there is of %d", got, db.written)
		}
	}
	// A time that is none is refused.
	if _, _, err := readMeta(t.Context(), lyingDatabase{}, "ct"); err == nil || !strings.Contains(err.Error(), "not a time") {
		t.Errorf("an absurd time: %v", err)
	}
}

type lyingDatabase struct{}

func (lyingDatabase) Exec(context.Context, string) error { return fmt.Errorf("not asked for") }
func (lyingDatabase) Rows(context.Context, string) ([][]string, error) {
	return [][]string{{"created", "x", "yesterday"}}, nil
}
