package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A list of one's own over HTTP: its signature is checked, one that does not
// match changes nothing and is said, the next good one is taken.
func TestSignedList(t *testing.T) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&signer.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key := writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), 0o644)
	var mu sync.Mutex
	var list, sig []byte
	agents := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		agents[r.UserAgent()] = true
		_, _ = w.Write(map[string][]byte{"/list.json": list, "/list.sig": sig}[r.URL.Path])
	}))
	defer server.Close()
	serve := func(generation int, signed bool, logs []listed) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "list.json")
		writeList(t, path, generation, logs)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if list = text; !signed {
			return
		}
		digest := sha256.Sum256(list)
		if sig, err = ecdsa.SignASN1(rand.Reader, signer, digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	logs := someLogs(t, "A", "B", "C")
	serve(1, true, logs)
	f := newTestFleet(t, "allow-private: true\n", logs) // which a file of lists follows
	f.configure("allow-private: true\n")
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(text), "lists.sources: "+f.list, "lists.sources: {url: "+server.URL+"/list.json, sig: "+server.URL+"/list.sig, key: "+key+"}", 1)
	if err := os.WriteFile(f.file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.reload(t.Context(), f.p); err != nil {
		t.Fatal(err)
	}
	if st := f.listStatuses(); len(st) != 1 || !st[0].Signed || st[0].Name != "127.0.0.1" || st[0].Followed != 3 || f.follow("A").Why != "usable in 127.0.0.1" {
		t.Errorf("%+v", st)
	}
	serve(2, false, logs[1:])
	if err := f.lists.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "signature does not match") {
		t.Errorf("a list that its key has not signed: %v", err)
	}
	f.rechoose(t.Context(), f.p)
	if st := f.listStatuses(); f.names() != "A B C" || st[0].Version != "1.1" || st[0].Error == "" || st[0].ErrorAt.IsZero() {
		t.Errorf("follows %s, %+v", f.names(), st)
	}
	serve(3, true, logs[1:])
	f.refresh()
	if f.names() != "B C" {
		t.Errorf("follows %s", f.names())
	}
	if want := "ctappliance/" + version + " (+me@ct-watch.org)"; len(agents) != 1 || !agents[want] {
		t.Errorf("asked as %v", agents)
	}
}

// Google's list of January, then that of May: what is new is followed, what
// was retired is not, what has vanished stays for its backlog.
func TestRealLists(t *testing.T) {
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "loglists", name))
		if err != nil {
			t.Skip("no real lists here: ", err)
		}
		return text
	}
	january, may := read("google-v3-81.14-2026-01-20.json"), read("google-v3-85.92-2026-05-29.json")
	f := newTestFleet(t, "", someLogs(t, "A"))
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(f.list, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(january)
	if err := os.RemoveAll(filepath.Join(f.dir, "data")); err != nil {
		t.Fatal(err)
	}
	before := f.restart()
	put(may)
	f.refresh()
	after := f.p.last()
	if len(after) != 52 || !strings.Contains(f.names(), "Argon2027h1") || strings.Contains(f.names(), "Oak2026") || strings.Contains(f.names(), "ogus") {
		t.Errorf("%d are followed, %d before: %s", len(after), len(before), f.names())
	}
	kept := 0
	for _, b := range before {
		for _, a := range after {
			if a.Log == b.Log {
				kept++
			}
		}
	}
	t.Logf("%d followed in January, %d in May, %d of them untouched", len(before), len(after), kept)
	if kept < 20 {
		t.Errorf("only %d logs kept their clients", kept)
	}
	hosts := map[string]bool{}
	paces := map[any]bool{}
	for _, a := range after {
		host, _ := hostOf(a.Log.Info().URL)
		hosts[host], paces[a.Pace] = true, true
	}
	if len(hosts) != len(paces) {
		t.Errorf("%d hosts have %d pacers", len(hosts), len(paces))
	}
}
