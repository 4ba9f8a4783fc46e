package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"ctappliance/store/engine/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func TestMilestone(t *testing.T) {
	dsn := enginetest.Start(t)
	opt, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db, err := clickhouse.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := t.Context()
	if err := db.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.Exec(ctx, "CREATE DATABASE ct"))
	must(db.Exec(ctx, "CREATE TABLE ct.t (a UInt64, b FixedString(4), c Array(String), d LowCardinality(String), ts DateTime64(3,'UTC'), e Enum8('x'=0,'y'=1)) ENGINE=MergeTree ORDER BY a"))
	b, err := db.PrepareBatch(ctx, "INSERT INTO ct.t (a,b,c,d,ts,e)")
	must(err)
	for i := range 100000 {
		must(b.Append(uint64(i), "abcd", []string{"q", fmt.Sprint(i)}, "lc", time.UnixMilli(int64(i)), "y"))
	}
	t0 := time.Now()
	must(b.Send())
	t.Log("send", time.Since(t0))
	var n, s uint64
	must(db.QueryRow(ctx, "SELECT count(), sum(a) FROM ct.t WHERE a < {x:UInt64}", clickhouse.Named("x", "1000")).Scan(&n, &s))
	if n != 1000 || s != 499500 {
		t.Fatal(n, s)
	}
	rows, err := db.Query(ctx, "SELECT * FROM ct.t ORDER BY a")
	must(err)
	k := 0
	for rows.Next() {
		var a uint64
		var b, d, e string
		var c []string
		var ts time.Time
		must(rows.Scan(&a, &b, &c, &d, &ts, &e))
		k++
	}
	must(rows.Err())
	if k != 100000 {
		t.Fatal(k)
	}
	t.Log(db.Exec(ctx, "SELECT * FROM nope"))
}
