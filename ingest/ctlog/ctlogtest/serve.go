package ctlogtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

	// Warm encodes pages and tiles before the logs are ready: see Log.Warm.
	Warm bool

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
	logs := make([]*Log, len(o.Kinds))
	var made errgroup.Group // side by side, so that they make each entry once
	for i, k := range o.Kinds {
		made.Go(func() (err error) {
			lo := o.Log
			lo.Kind, lo.Corpus, lo.Name = k, corpus, "demo "+k.String()
			if k == Static && lo.Origin == "" {
				lo.Origin = "demo.invalid/static"
			}
			if logs[i], err = New(lo); err != nil {
				return err
			}
			if o.Warm {
				logs[i].Warm()
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
	ready, mux := mount("http://"+listener.Addr().String(), logs)
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

func mount(url string, logs []*Log) (Ready, *http.ServeMux) {
	mux := http.NewServeMux()
	r := Ready{ListURL: url + "/log_list.json"}
	var infos []Info
	for _, l := range logs {
		at := mountPoint(l.o.Kind)
		mux.Handle(at+"/", http.StripPrefix(at, l.Handler()))
		i := l.Info(url + at)
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
