package ctlogtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

type servedEntries struct {
	Entries []struct {
		Leaf  []byte `json:"leaf_input"`
		Extra []byte `json:"extra_data"`
	} `json:"entries"`
}

func decoded(t *testing.T, b []byte) (v servedEntries) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What is altered differs from the truth in the one place that its mode names.
func TestAlteredEntries(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	honest := decoded(t, p.rfcC.must(entriesPath, 200))
	under := func(m Mode) servedEntries {
		arm(t, p.rfc, Fault{Mode: m, From: 2, To: 4})
		return decoded(t, p.rfcC.must(entriesPath, 200))
	}
	for i, e := range under(SwapEntries).Entries {
		want := i
		if i == 2 || i == 3 {
			want = 5 - i
		}
		if !bytes.Equal(e.Leaf, honest.Entries[want].Leaf) {
			t.Errorf("swapped: at %d stands another leaf than %d", i, want)
		}
	}
	for m, at := range map[Mode]int{LeafVersion: 0, EntryType: 10} {
		for i, e := range under(m).Entries {
			want := bytes.Clone(honest.Entries[i].Leaf)
			if i == 2 || i == 3 {
				want[at] = e.Leaf[at]
				if bytes.Equal(want, honest.Entries[i].Leaf) {
					t.Errorf("%s: leaf %d is not altered", m, i)
				}
			}
			if i < 2 || i > 3 || m == LeafVersion {
				if !bytes.Equal(e.Leaf, want) {
					t.Errorf("%s: leaf %d differs elsewhere", m, i)
				}
			}
		}
	}
	for i, e := range under(CorruptChain).Entries {
		if !bytes.Equal(e.Leaf, honest.Entries[i].Leaf) || bytes.Equal(e.Extra, honest.Entries[i].Extra) != (i < 2 || i > 3) {
			t.Errorf("chain of %d", i)
		}
	}
	struck(t, p.rfc, SwapEntries, LeafVersion, EntryType, CorruptChain)
}

// Texts that are tampered with, and heads with odd sizes.
func TestTamperedTexts(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	arm(t, p.rfc, Fault{Mode: OddSize, Text: "-1"})
	arm(t, p.static, Fault{Mode: OddSize, Text: "-1"})
	if b := p.rfcC.must("/ct/v1/get-sth", 200); !bytes.Contains(b, []byte(`"tree_size":-1,`)) {
		t.Errorf("%s", b)
	}
	if b := p.staticC.must("/checkpoint", 200); !bytes.Contains(b, []byte("\n-1\n")) {
		t.Errorf("%s", b)
	}
	arm(t, p.rfc, Fault{Mode: TwiceKeys})
	for _, path := range []string{"/ct/v1/get-sth", entriesPath, "/ct/v1/get-sth-consistency?first=1&second=300", "/ct/v1/get-entry-and-proof?leaf_index=5&tree_size=300"} {
		b := p.rfcC.must(path, 200)
		twice := false
		for _, key := range []string{`"tree_size"`, `{"leaf_input":"AAAA","leaf_input"`, `"consistency"`, `"leaf_input"`} {
			twice = twice || bytes.Count(b, []byte(key)) >= 2
		}
		if !json.Valid(b) || path != "/ct/v1/get-entry-and-proof?leaf_index=5&tree_size=300" && !twice {
			t.Errorf("%s: %.100s", path, b)
		}
	}
	arm(t, p.rfc, Fault{Mode: BadBase64})
	arm(t, p.static, Fault{Mode: BadBase64})
	for _, b := range [][]byte{p.rfcC.must("/ct/v1/get-sth", 200), p.rfcC.must(entriesPath, 200), p.rfcC.must("/ct/v1/get-sth-consistency?first=1&second=300", 200)} {
		if !json.Valid(b) || !bytes.Contains(b, []byte("!")) {
			t.Errorf("%.100s", b)
		}
	}
	lines := strings.Split(string(p.staticC.must("/checkpoint", 200)), "\n")
	if _, err := base64.StdEncoding.DecodeString(lines[2]); err == nil {
		t.Error("the root is base64 after all")
	}
}

// A stale partial tile is one that was right once.
func TestStalePartial(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	honest := p.staticC.must("/tile/0/001.p/44", 200)
	arm(t, p.static, Fault{Mode: StalePartial, N: 4})
	if b := p.staticC.must("/tile/0/001.p/44", 200); !bytes.Equal(b, honest[:40*32]) {
		t.Errorf("%d bytes", len(b))
	}
	if b := p.staticC.must("/tile/0/000", 200); len(b) != 8192 {
		t.Errorf("a full tile has %d bytes", len(b))
	}
}

// Connections that never come to an answer, over real sockets.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	p := newFaultPair(t)
	arm(t, p.rfc, Fault{Mode: HangUp})
	if _, _, err := p.rfcC.get(entriesPath); err == nil {
		t.Error("an answer came")
	}
	arm(t, p.rfc, Fault{Mode: SlowHeader, Delay: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", p.rfcC.base+entriesPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("a header came to its end")
	}
	struck(t, p.rfc, HangUp, SlowHeader)
}
