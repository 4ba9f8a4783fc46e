package ctlogtest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// ServeOptions says what a demo log process serves.
type ServeOptions struct {
	Port int    // on 127.0.0.1; 0 is any
	Dir  string // where log_list.json is written; empty makes a directory below os.TempDir

	// Corpus, Size, growth and so on of both logs. Kind, Name and Corpus of
	// Log are set by Serve.
	Corpus CorpusOptions
	Log    Options

	// Kinds lists the logs to serve, each below /rfc/ or /static/; empty is
	// both.
	Kinds []Kind

	// Neighbours, if not 0, is how many logs of each kind to serve. They hold
	// certificates in common, each log differently (see CorpusOptions), and lie
	// below /rfc/1/, /rfc/2/ and so on.
	Neighbours int

	// Warm encodes pages and tiles before the logs are ready: see Log.Warm.
	Warm bool

	// TLS, if set, has the logs answer over HTTPS too, on a port of its own. Its
	// NextProtos decide about HTTP/2; none means that it is spoken.
	TLS *tls.Config

	// Limit and Faults are in force from the start.
	Limit  *RateLimit
	Faults []Fault

	// Out gets one line of JSON, a Ready, once the logs answer.
	Out io.Writer
	// Stdin, if set, is read to its end, and its end ends Serve: a demo log
	// does not outlive who started it.
	Stdin io.Reader
}

// Ready is the line that Serve prints.
type Ready struct {
	LogList string     `json:"log_list"`     // path of a log list file
	ListURL string     `json:"log_list_url"` // the same over HTTP
	Logs    []ReadyLog `json:"logs"`
}

// ReadyLog is one log of Ready.
type ReadyLog struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	URL     string `json:"url"` // RFC 6962 base, or monitoring prefix
	Origin  string `json:"origin,omitempty"`
	LogID   []byte `json:"log_id"`
	Key     []byte `json:"key"`
	Size    uint64 `json:"size"`
	Control string `json:"control"` // prefix of the controls

	SecureURL string `json:"secure_url,omitempty"` // URL over HTTPS, if that is served
}

// Serve runs a demo log until ctx or Stdin ends. Everything but the heads'
// signatures and timestamps follows from the options: a restart continues the
// same log, at the size it is told to start with.
func Serve(ctx context.Context, o ServeOptions) error {
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("port %d is not between 0 and 65535", o.Port)
	}
	if len(o.Kinds) == 0 {
		o.Kinds = []Kind{RFC6962, Static}
	}
	if o.Corpus.Seed == 0 {
		o.Corpus.Seed = o.Log.Seed
	}
	o.Log.Seed = o.Corpus.Seed
	corpus, err := NewCorpus(o.Corpus)
	if err != nil {
		return err
	}
	logs := make([]*Log, len(o.Kinds)*max(o.Neighbours, 1))
	at := make([]string, len(logs)) // where they are mounted
	var made errgroup.Group         // side by side, so that they make each entry once
	made.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i := range logs {
		k := o.Kinds[i%len(o.Kinds)]
		made.Go(func() (err error) {
			lo := o.Log
			lo.Kind, lo.Corpus, lo.Name = k, corpus, "demo "+k.String()
			at[i] = mountPoint(k)
			if k == Static && lo.Origin == "" {
				lo.Origin = "demo.invalid/static"
			}
			if o.Neighbours > 0 {
				co := o.Corpus
				co.Neighbour, co.Authorities = i+1, corpus
				co.CacheBytes = max(co.CacheBytes, 192<<20) / int64(len(logs))
				if lo.Corpus, err = NewCorpus(co); err != nil {
					return err
				}
				n := i/len(o.Kinds) + 1
				lo.Name, lo.CacheBytes = fmt.Sprintf("%s %d", lo.Name, n), max(lo.CacheBytes, 128<<20)/int64(len(logs))
				at[i] = fmt.Sprintf("%s/%d", at[i], n)
				if k == Static {
					lo.Origin = fmt.Sprintf("%s/%d", lo.Origin, n)
				}
			}
			if logs[i], err = makeLog(lo, o.Warm); err != nil {
				return err
			}
			if err := logs[i].faults.SetLimit(o.Limit); err != nil {
				return err
			}
			return logs[i].faults.Add(o.Faults...)
		})
	}
	if err := made.Wait(); err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", o.Port))
	if err != nil {
		return fmt.Errorf("listening for the demo log: %w", err)
	}
	defer listener.Close()
	var secure net.Listener
	if o.TLS != nil {
		if secure, err = lc.Listen(ctx, "tcp4", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("listening for the demo log over HTTPS: %w", err)
		}
		defer secure.Close()
	}
	ready, mux := mount("http://"+listener.Addr().String(), logs, at)
	for i := range ready.Logs {
		if secure != nil {
			ready.Logs[i].SecureURL = "https://" + secure.Addr().String() + at[i] + "/"
		}
	}
	if ready.LogList, err = writeList(o.Dir, logs, ready); err != nil {
		return fmt.Errorf("writing the log list: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	if o.Stdin != nil {
		// Not waited for: a read from a terminal cannot be called back.
		go func() {
			io.Copy(io.Discard, o.Stdin)
			stop()
		}()
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range logs {
		g.Go(func() error { return l.Run(ctx) })
	}
	g.Go(func() error {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			return fmt.Errorf("serving the demo log: %w", err)
		}
		return nil
	})
	if secure != nil {
		// A server of its own: one that has begun without TLS has decided against
		// HTTP/2.
		over := &http.Server{Handler: mux, ReadHeaderTimeout: server.ReadHeaderTimeout, IdleTimeout: server.IdleTimeout,
			MaxHeaderBytes: server.MaxHeaderBytes, BaseContext: server.BaseContext, TLSConfig: o.TLS}
		g.Go(func() error {
			<-ctx.Done()
			return over.Close()
		})
		g.Go(func() error {
			if err := over.ServeTLS(secure, "", ""); err != http.ErrServerClosed {
				return fmt.Errorf("serving the demo log over HTTPS: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	if o.Out != nil {
		if err := json.NewEncoder(o.Out).Encode(ready); err != nil {
			stop()
			g.Wait()
			return fmt.Errorf("saying that the demo log is ready: %w", err)
		}
	}
	return g.Wait()
}

// mountPoint is where a process serves its log of a kind.
func mountPoint(k Kind) string {
	if k == Static {
		return "/static"
	}
	return "/rfc"
}

// makeLog is New, and Warm for the entries at the start: a stretch at a time,
// so that each entry is made once however small the corpus' cache is.
func makeLog(o Options, warm bool) (*Log, error) {
	if !warm {
		return New(o)
	}
	const stretch = 256 * blockSize
	size := o.Size
	o.Size = min(size, stretch)
	l, err := New(o)
	if err != nil {
		return nil, err
	}
	for l.Warm(); l.Size() < size; l.Warm() {
		if err := l.Grow(min(size-l.Size(), stretch)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// mount serves each log below its place in at.
func mount(url string, logs []*Log, at []string) (Ready, *http.ServeMux) {
	mux := http.NewServeMux()
	r := Ready{ListURL: url + "/log_list.json"}
	var infos []Info
	for n, l := range logs {
		mux.Handle(at[n]+"/", http.StripPrefix(at[n], l.Handler()))
		i := l.Info(url + at[n])
		infos = append(infos, i)
		rl := ReadyLog{Name: i.Name, Kind: i.Kind.String(), URL: i.URL, LogID: i.ID[:], Key: i.Key, Size: l.Size(), Control: i.URL + "demo/"}
		if l.o.Kind == Static {
			rl.Origin = l.o.Origin
		}
		r.Logs = append(r.Logs, rl)
	}
	mux.HandleFunc("GET /log_list.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(LogList(infos...))
	})
	return r, mux
}

func writeList(dir string, logs []*Log, r Ready) (string, error) {
	var err error
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ctlogtest-"); err != nil {
			return "", err
		}
	}
	var infos []Info
	for i, l := range logs {
		infos = append(infos, l.Info(r.Logs[i].URL))
	}
	name := filepath.Join(dir, "log_list.json")
	return name, os.WriteFile(name, LogList(infos...), 0o644)
}
