package cert

import (
	"fmt"
	"path/filepath"
	"testing"

	"ctappliance/schema"
)

func TestSmoke(t *testing.T) {
	for _, set := range []struct {
		n string
		c []corpusCert
	}{{"live", liveCerts(t)}, {"odd", oddCerts(t)}} {
		st := map[string]int{}
		for _, c := range set.c {
			r := parseX509(c.der)
			st[fmt.Sprint(r.Status)]++
			if r.Status >= schema.StatusPartial {
				t.Log(c.name, r.Status, r.Error, Flag(r.Flags))
			}
			if r.Flags&uint64(Panic) != 0 {
				t.Error(c.name, r.Error)
			}
			if set.n == "live" && r.Status != 0 {
				t.Log(c.name, r.Status, r.Error, Flag(r.Flags))
			}
		}
		t.Log(set.n, len(set.c), st)
	}
	es := tileEntries(t, filepath.Join(dataDir(t), "static", "navigli2025h2", "tile", "data"))
	st := map[string]int{}
	for _, in := range es {
		var r schema.Row
		Parse(&in, &r)
		st[fmt.Sprint(r.Status, r.Poison, Flag(r.Flags))]++
	}
	t.Log(len(es), st)
}
