package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/ingest"
	"ctappliance/store/engine"
)

// socketName is the control socket's name inside the data directory: how the
// other commands talk to a running appliance. The directory's permissions
// guard it.
const socketName = "ctl.sock"

// errNotRunning means that no appliance serves the data directory.
var errNotRunning = errors.New("no appliance is running on this data directory; start 'ctappliance run', or name its directory with --data-dir")

// storeAccess is how other commands on this machine reach the embedded store
// of a running appliance. Who may open the control socket may read the store's
// files too, so it gives nothing away.
type storeAccess struct {
	Embedded bool   `json:"embedded"`
	DSN      string `json:"dsn"`    // for our own commands, which only look
	Reader   string `json:"reader"` // of the read-only user, for people
}

// socketPath returns a path to the socket that fits the kernel's 108 bytes
// however deep the data directory lies: through a descriptor of the directory.
func socketPath(dir string) (path string, release func(), err error) {
	path = filepath.Join(dir, socketName)
	if len(path) < 100 {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName), func() { d.Close() }, nil
}

// serveControl answers on the control socket until ctx ends. The caller holds
// the data directory's lock, so a socket that is there already is a dead one's.
func serveControl(ctx context.Context, dir string, a *ingest.Appliance, e *engine.Engine, status func() report.Status, reload func(context.Context) (applied, error)) error {
	path, release, err := socketPath(dir)
	if err != nil {
		return fmt.Errorf("opening control socket: %w", err)
	}
	defer release()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing old control socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("opening control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("opening control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, status()) })
	mux.HandleFunc("GET /store", func(w http.ResponseWriter, _ *http.Request) {
		access := storeAccess{Embedded: e != nil}
		if e != nil {
			access.DSN, access.Reader = e.DSN(), e.ReaderDSN()
		}
		reply(w, access)
	})
	mux.HandleFunc("GET /profile", serveProfile)
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		done, err := reload(r.Context())
		if err != nil {
			http.Error(w, plain.OneLine(err), http.StatusConflict)
			return
		}
		reply(w, done)
	})
	mux.HandleFunc("POST /backfill", onRange(a.Backfill))
	mux.HandleFunc("POST /repair", onRange(a.Repair))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving control socket: %w", err)
	}
	return nil
}

// onRange serves a request to do something with a range of a log.
func onRange(do func(context.Context, ingest.SpanRequest) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var span ingest.SpanRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&span); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := do(r.Context(), span); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		reply(w, struct{}{})
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// control asks the appliance that runs on dir, and waits 10 seconds where ctx
// has no end of its own. Where none runs it returns errNotRunning.
func control(ctx context.Context, dir, method, what string, body io.Reader, into any) error {
	answer, err := controlBytes(ctx, dir, method, what, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// controlBytes is control for answers that are not JSON.
func controlBytes(ctx context.Context, dir, method, what string, body io.Reader) ([]byte, error) {
	path, release, err := socketPath(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("opening control socket: %w", err)
	}
	defer release()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://appliance"+what, body)
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, errNotRunning
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("asking the running appliance: %w; use the account that it runs under", err)
	case err != nil:
		return nil, fmt.Errorf("asking the running appliance: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("asking the running appliance: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the running appliance says: %s", strings.TrimSpace(string(answer)))
	}
	return answer, nil
}
