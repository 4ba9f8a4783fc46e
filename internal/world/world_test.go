package world

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ctappliance/ingest/ctlog"
)

// small is a world of the real lists that is cheap to make.
func small(t *testing.T) *World {
	t.Helper()
	first, update := lists(t)
	w, err := New(Options{List: first, Update: update, Seed: 2, Scale: dayScale, History: 10 * time.Minute, Resting: 20, Plain: 1, CacheBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// inWorld runs f in a bubble, months after its clock's beginning.
func inWorld(t *testing.T, f func(*testing.T, *World)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 5, 30, 0, 0, 0, 0, time.UTC)))
		f(t, small(t))
	})
}

// parsed returns the present list as a client sees it, its signature verified.
func parsed(t *testing.T, w *World) map[[32]byte]ctlog.Info {
	t.Helper()
	raw, sig := w.List()
	if err := ctlog.VerifyList(raw, sig, w.ListKey()); err != nil {
		t.Fatal(err)
	}
	list, err := ctlog.ParseList(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := map[[32]byte]ctlog.Info{}
	for _, i := range list.Logs {
		out[i.ID] = i
	}
	return out
}

// The lists that are served are the real ones, but for what makes the logs
// ours, and the cast.
func TestListsAreTheRealOnes(t *testing.T) {
	first, update := lists(t)
	inWorld(t, func(t *testing.T, w *World) {
		compare := func(name string, raw []byte, lacks Role) {
			_, real, err := parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			served, _ := w.List()
			_, ours, err := parse(served)
			if err != nil {
				t.Fatal(err)
			}
			have := map[string]listed{}
			for _, e := range ours {
				have[e.identity()] = e
			}
			kept, different := 0, 0
			for _, r := range real {
				l := w.byReal[r.identity()]
				if l == nil {
					if o, ok := have[r.identity()]; !ok || o.address() != r.address() {
						t.Errorf("%s: the placeholder %s is not as it was", name, r.text("description"))
					}
					continue
				}
				o, ok := have[base64.StdEncoding.EncodeToString(l.ID[:])]
				if ok == (l.Role == lacks) {
					t.Errorf("%s: %s (%s) is listed: %v", name, l.Name, l.Role, ok)
				}
				if !ok {
					continue
				}
				kept++
				same := func(key string) bool {
					a, _ := json.Marshal(r.object[key])
					b, _ := json.Marshal(o.object[key])
					return string(a) == string(b)
				}
				if o.operator != r.operator || !same("temporal_interval") || !same("mmd") || !same("submission_url") {
					t.Errorf("%s: %s: operator, interval, MMD or submission prefix are not those of the real list", name, l.Name)
				}
				if !same("description") || o.state() != r.state() || o.address() != r.address() {
					different++
				}
				if o.text("key") == r.text("key") {
					t.Errorf("%s: %s has the real key", name, l.Name)
				}
			}
			t.Logf("%s: %d entries, %d of them otherwise than in the real list", name, kept, different)
			if kept < 50 || different > 3 {
				t.Errorf("%s: %d entries of the real list are there, %d otherwise than there", name, kept, different)
			}
		}
		compare("the first list", first, Appearing)
		if err := w.Update(); err != nil {
			t.Fatal(err)
		}
		compare("the update", update, "none")
	})
}

// Every listed log that is to be asked answers at its URL with a head that
// its key has signed, and those that are read-only end where the list says.
func TestLogsAreListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		ask := func() (asked int) {
			for _, info := range parsed(t, w) {
				if !info.Follow() {
					continue
				}
				client, err := ctlog.New(info, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", Transport: w.Transport()})
				if err != nil {
					t.Fatal(err)
				}
				head, err := client.Head(t.Context())
				if err != nil {
					t.Errorf("%s: %v", info.Name, err)
					continue
				}
				asked++
				if info.State == "readonly" && (head.Size != info.FinalSize || head.Root != info.FinalRoot) {
					t.Errorf("%s has ended at %d, the list says %d", info.Name, head.Size, info.FinalSize)
				}
				time.Sleep(10 * time.Second) // below all limits
			}
			return asked
		}
		if n := ask(); n < 60 {
			t.Errorf("the first list has %d logs to ask", n)
		}
		old := w.Of(Moved)[0].URL()
		time.Sleep(time.Hour)
		if err := w.Update(); err != nil {
			t.Fatal(err)
		}
		if n := ask(); n < 50 {
			t.Errorf("the update has %d logs to ask", n)
		}
		client := &http.Client{Transport: w.Transport()}
		response, err := client.Get(old + "ct/v1/get-sth")
		if err != nil || response.StatusCode != http.StatusNotFound {
			t.Fatalf("the address that a log has left: %v, %v", response, err)
		}
		response.Body.Close()
		if len(w.Strays()) > 0 {
			t.Error(w.Strays())
		}
		if _, err := client.Get("https://ct.example.com/bogus/ct/v1/get-sth"); err == nil || len(w.Strays()) != 1 {
			t.Errorf("a placeholder answers: %v, %v", err, w.Strays())
		}
	})
}

// Logs grow at their rate, and no head or entry is of the future.
func TestGrowth(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		sum := func() (n uint64) {
			for _, l := range w.Logs() {
				if err := l.advance(time.Now()); err != nil {
					t.Fatal(err)
				}
				n += l.Size()
				_, _, at := l.current().Head()
				if at > uint64(time.Now().UnixMilli()) {
					t.Errorf("%s has a head of the future", l.Name)
				}
			}
			return n
		}
		before := sum()
		time.Sleep(2 * time.Hour)
		perDay := float64(sum()-before) * 12 / dayScale
		t.Logf("all logs together grow by %.0f million entries a day", perDay/1e6)
		if perDay < 100e6 || perDay > 400e6 {
			t.Errorf("all logs together grow by %.0f entries a day", perDay)
		}
	})
}

// What becomes of a log happens to it and to nobody else.
func TestActs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		liar, gone := w.Of(Lying)[0], w.Of(Gone)[0]
		size := liar.Size()
		honest := liar.current().Root(size)
		if err := w.Run(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if liar.Honest() < size || liar.current().Root(size) == honest {
			t.Error("the lying log has the tree that it had")
		}
		if _, err := (&http.Client{Transport: w.Transport()}).Get(gone.URL() + "checkpoint"); err == nil {
			t.Error("the gone log answers")
		}
		end := w.Of(Retiring)[0].Size()
		time.Sleep(time.Hour)
		if err := w.Freeze(); err != nil {
			t.Fatal(err)
		}
		if n := w.Of(Retiring)[0].Size(); n != end {
			t.Errorf("a log that is read-only at %d has %d entries", end, n)
		}
	})
}

// A host refuses what is beyond its limit, all its logs together.
func TestLimitIsOfTheHost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		var logs []*Log
		for _, l := range w.Logs() {
			if l.Host().Name == "sphinx.ct.digicert.com" {
				logs = append(logs, l)
			}
		}
		if len(logs) < 5 {
			t.Fatalf("%d logs", len(logs))
		}
		client, refused := &http.Client{Transport: w.Transport()}, 0
		for i := range 10 {
			response, err := client.Get(logs[i%len(logs)].URL() + "ct/v1/get-sth")
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode == http.StatusTooManyRequests {
				refused++
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		if limit := logs[0].Host().Limit; refused != 10-limit.Burst || int(logs[0].Host().Count().Refused) != refused {
			t.Errorf("%d of 10 requests at once were refused, the burst is %d", refused, limit.Burst)
		}
	})
}

// The same world over the loopback interface: one address for each host.
func TestListen(t *testing.T) {
	w := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listURL, sigURL, err := w.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	get := func(url string) []byte {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("%s: %v %v", url, response.Status, err)
		}
		return b
	}
	if err := ctlog.VerifyList(get(listURL), get(sigURL), w.ListKey()); err != nil {
		t.Fatal(err)
	}
	byHost := map[string]string{}
	for _, info := range parsed(t, w) {
		if !info.Follow() {
			continue
		}
		host, _, _ := strings.Cut(strings.TrimPrefix(info.URL, "http://"), "/")
		if !strings.HasPrefix(host, "127.83.") {
			t.Fatalf("%s is at %s", info.Name, info.URL)
		}
		byHost[host] = info.URL
		client, err := ctlog.New(info, ctlog.Options{UserAgent: "ctappliance-test (test@ctappliance.test)", AllowPrivate: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Head(ctx); err != nil && !strings.Contains(err.Error(), "429") {
			t.Errorf("%s: %v", info.Name, err)
		}
	}
	if len(byHost) < 30 {
		t.Errorf("%d hosts", len(byHost))
	}
}
