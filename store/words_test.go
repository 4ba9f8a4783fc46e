package store

import "testing"

// TestWords: the index of words comes with the first merge; words are found
// before and after it, also where some parts have it and others have not.
func TestWords(t *testing.T) {
	s, _ := openEngine(t, nil)
	exec(t, s, "SYSTEM STOP MERGES {db}.names")
	indexed := func() bool {
		return one(t, s, "SELECT sum(data_compressed_bytes) > 0 FROM system.data_skipping_indices WHERE database = '{db}' AND table = 'names' AND name = 'words'") == "1"
	}
	found := func(when, want string) {
		t.Helper()
		if got := one(t, s, "SELECT count() FROM {db}.names WHERE hasAllTokens(rname, 'host77 example')"); got != want {
			t.Errorf("%s a word is found in %s names, want %s", when, got, want)
		}
		if got := one(t, s, "SELECT count() FROM {db}.names WHERE hasAllTokens(rname, 'host7777777')"); got != "0" {
			t.Errorf("%s a word that is in no name is found", when)
		}
	}
	insert(t, s, flushOf(1, rowsOf(1, 0, 100)))
	if indexed() {
		t.Error("an insert has made the index")
	}
	found("without the index", "1")
	exec(t, s, "SYSTEM START MERGES {db}.names")
	exec(t, s, "OPTIMIZE TABLE {db}.names FINAL")
	if !indexed() {
		t.Error("a merge has not made the index")
	}
	found("with the index", "1")
	exec(t, s, "SYSTEM STOP MERGES {db}.names")
	rows := rowsOf(2, 50, 100)
	for i := range rows {
		rows[i].TBSID[9]++
		rows[i].DNSNames = []string{"www." + rows[i].DNSNames[0]}
	}
	insert(t, s, flushOf(2, rows))
	found("with the index of some parts", "2")
}
