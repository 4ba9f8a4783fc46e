package storm

import (
	"os"
	"path/filepath"

	"ctappliance/checkpoint"
)

// mishap is what may happen to the data directory between two lives: the
// ledger is then ahead of what the appliance knows.
func (r *run) mishap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	switch n := r.rng.IntN(100); {
	case n < 8:
		r.note("checkpoint deleted")
		err = os.Remove(filepath.Join(r.dir, checkpoint.FileName))
	case n < 14:
		r.note("data directory deleted")
		err = os.RemoveAll(r.dir)
	case n < 30:
		// While it was made the server held what was proven until then, and
		// more: what a restored copy still has to trim may be anything since.
		r.note("data directory copied")
		os.RemoveAll(r.dir + "-backup")
		r.backup = r.dir + "-backup"
		err = os.CopyFS(r.backup, os.DirFS(r.dir))
	case n < 42 && r.backup != "":
		r.note("data directory restored from its copy")
		if err = os.RemoveAll(r.dir); err == nil {
			err = os.CopyFS(r.dir, os.DirFS(r.backup))
		}
	}
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
}
