package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// Options say how to run the engine. Library and Dir are needed.
type Options struct {
	Library string // path of libchdb, from Find
	Dir     string // the engine's own directory; made if missing, mode 0700

	Port        int   // on 127.0.0.1; 0 for any
	Memory      int64 // bytes the engine may use; 0 for 1.4 GB or a third of the machine, whichever is less
	Connections int   // statements at a time, further ones wait; 0 for 16, at most 64
	MaxInsert   int64 // bytes of one insert's body, decompressed; 0 for 1 GiB

	ReaderName     string // of the read-only user; "reader" if empty
	ReaderPassword string // new at each Start if empty
	ReaderSeconds  int64  // of execution of a reader's statement; 0 for 30
	ReaderMemory   int64  // bytes of a reader's statement; 0 for a quarter of Memory
	ReaderResult   int64  // bytes of a reader's result before formatting; 0 for 256 MiB

	Command []string     // program and arguments of the child; this executable and "engine" if empty
	Env     []string     // the child's environment beside what it needs; the parent's is not passed on
	Log     *slog.Logger // nil for none

	times times // defaultTimes if zero
}

// writerName is the user that may do everything. Its password is new at each
// Start and known to parent and child only.
const writerName = "ctappliance"

// fill checks o and puts the defaults in.
func (o *Options) fill() error {
	if o.Library == "" || o.Dir == "" {
		return errors.New("library or directory of the engine is not given")
	}
	var err error
	if o.Library, err = filepath.Abs(o.Library); err != nil {
		return err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if !isFile(o.Library) {
		return &NotFoundError{Tried: []string{o.Library}}
	}
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("engine port %d is not between 0 and 65535", o.Port)
	}
	if o.Connections < 0 || o.Connections > 64 {
		return fmt.Errorf("engine connections %d is not between 0 and 64", o.Connections)
	}
	if o.MaxInsert < 0 || o.ReaderSeconds < 0 || o.ReaderMemory < 0 || o.ReaderResult < 0 {
		return errors.New("a limit of the engine is negative")
	}
	if o.Memory, err = memoryFor(o.Memory, machineMemory()); err != nil {
		return err
	}
	if o.ReaderName == writerName {
		return fmt.Errorf("the read-only user cannot be called %q: that is the writer", writerName)
	}
	or := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	if o.Connections == 0 {
		o.Connections = 16
	}
	or(&o.MaxInsert, 1<<30)
	or(&o.ReaderSeconds, 30)
	or(&o.ReaderMemory, o.Memory/4)
	or(&o.ReaderResult, 256<<20)
	if o.ReaderName == "" {
		o.ReaderName = "reader"
	}
	if o.ReaderPassword == "" {
		o.ReaderPassword = rand.Text()
	}
	if o.times == (times{}) {
		o.times = defaultTimes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Command) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		o.Command = []string{exe, "engine"}
	}
	return nil
}

// environ is the child's whole environment. The parent's may hold secrets,
// and whoever reads the child's memory or /proc should not find them there.
func (o *Options) environ() []string {
	env := []string{dirEnv + "=" + o.Dir, libraryEnv + "=" + o.Library, "TZ=UTC"}
	for _, k := range []string{"LD_LIBRARY_PATH", "GOTRACEBACK", "GOCOVERDIR", "GORACE"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return append(env, o.Env...)
}
