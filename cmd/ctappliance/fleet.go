package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/report"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
	"ctappliance/ingest/catalog"
	"ctappliance/ingest/ctlog"
)

// fleet is the set of logs that run follows, and what changes it: lists that
// have changed, a configuration that was read again, logs that turned out to
// serve tiles. Every change goes through apply, one at a time: choose, make
// clients where something is new, hand the set to the pipeline.
type fleet struct {
	out    *slog.Logger
	dir    string
	reread func() (*settings, error) // the configuration as it is now; nil: no reload
	hosts  *hosts
	now    func() time.Time
	probe  func(ctx context.Context, info ctlog.Info) (url string, err error) // asks a log for tiles; nil: none is asked

	// reloading is called when a configuration is about to be put in force, and
	// what it returns when that is over.
	reloading func() (done func())

	changing sync.Mutex // held while the set is changed

	// Guarded by changing; mu too where it is written.
	mu       sync.Mutex
	c        *settings
	lists    *catalog.Catalog // nil: no list is read
	followed map[ctlog.Hash]choice
	left     map[ctlog.Hash]pastLog // logs of the lists that are followed, or were until they left the lists
	began    time.Time              // when logs of the lists were first followed; zero: never
	known    map[ctlog.Hash]bool    // logs that the lists have named since then
	tiles    *tileBook

	relist chan struct{} // holds one: lists was replaced
	again  chan struct{} // holds one: ask for the lists now
	kick   chan struct{} // holds one: something may have changed the choice
}

// pastLog is a log of the lists that is followed, with what is needed to go on
// with it when the lists no longer name it.
type pastLog struct {
	Info  ctlog.Info `json:"log"`
	Lists []string   `json:"lists"`
	Gone  time.Time  `json:"gone,omitzero"` // when it was first missing in the lists
	Late  bool       `json:"late,omitzero"` // the lists did not name it when they were first followed
}

// fleetState is the content of followed.json.
type fleetState struct {
	Began time.Time `json:"began,omitzero"`
	Known []string  `json:"known"` // log IDs in hex
	Logs  []pastLog `json:"logs"`
}

func newFleet(c *settings, out *slog.Logger) *fleet {
	return &fleet{c: c, out: out, dir: c.DataDir, hosts: newHosts(c), now: time.Now, reloading: func() func() { return func() {} }, followed: map[ctlog.Hash]choice{}, left: map[ctlog.Hash]pastLog{}, known: map[ctlog.Hash]bool{},
		relist: make(chan struct{}, 1), again: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

// begin opens the lists, fetches those that were never read, and returns the
// logs to begin with. Lists that cannot be had are waited for where others,
// logs of the configuration, or what the last life followed give something to
// do.
func (f *fleet) begin(ctx context.Context) ([]ingest.Follow, error) {
	f.changing.Lock()
	defer f.changing.Unlock()
	f.recall(f.out)
	f.hosts.loadPace(f.dir, f.now(), f.out)
	var missing error
	if f.c.NeedsLists() {
		if err := f.c.makeDataDir(); err != nil {
			return nil, err
		}
		var err error
		if f.lists, err = f.c.openLists(filepath.Join(f.dir, listsDir), f.out); err != nil {
			return nil, err
		}
		if missing = fetchLists(ctx, f.lists); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(f.lists.Logs()) == 0 && len(f.c.Logs)+len(f.left) == 0 {
			return nil, errNoList(missing)
		}
		if slices.ContainsFunc(f.lists.Sources(), func(s catalog.SourceStatus) bool { return !config.IsRemote(s.URL) }) {
			poke(f.again) // a file may be another than the last life read, and costs nobody anything
		}
	}
	choices, err := f.choose(ctx, f.c, f.lists, func(ctlog.Hash) bool { return true })
	if err != nil {
		return nil, err
	}
	f.tiles.mark(choices)
	follows, err := f.hosts.follows(choices, f.out)
	if err != nil {
		return nil, err
	}
	if len(follows) == 0 {
		return nil, errNothing(choices)
	}
	if missing != nil {
		f.out.Warn("not all log lists could be had, going on with what is there", "err", plain.OneLine(missing))
	}
	f.note(choices)
	return follows, nil
}

// recall reads what the last life knew of logs.
func (f *fleet) recall(out *slog.Logger) {
	state := loadState[fleetState](f.dir, followedFile, out)
	f.began = state.Began
	for _, text := range state.Known {
		if id, err := hex.DecodeString(text); err == nil && len(id) == len(ctlog.Hash{}) {
			f.known[ctlog.Hash(id)] = true
		}
	}
	for _, past := range state.Logs {
		past.Info.ID = sha256.Sum256(past.Info.Key)
		f.left[past.Info.ID] = past
	}
	f.tiles = loadTiles(f.dir, out)
}

// errNothing says that no log is chosen, and for what reason most are not.
func errNothing(choices []choice) error {
	why := map[string]int{}
	for _, ch := range choices {
		why[ch.Why]++
	}
	most := ""
	for _, w := range slices.Sorted(maps.Keys(why)) {
		if why[w] > why[most] {
			most = w
		}
	}
	if most == "" {
		return usage.Errorf("no log would be followed; see lists.follow, follow.include and follow.exclude")
	}
	return usage.Errorf("none of %d logs would be followed, most because: %s; see lists.follow, follow.include and follow.exclude", len(choices), plain.Printable(most))
}

// choose says of every log that the configuration and the lists know what
// becomes of it. behind reports whether a log has entries that are wanted and
// not copied yet.
func (f *fleet) choose(ctx context.Context, c *settings, lists *catalog.Catalog, behind func(ctlog.Hash) bool) ([]choice, error) {
	list, err := c.loadList()
	if err != nil {
		return nil, err
	}
	var listed []catalog.Listed
	if lists != nil {
		listed = lists.Logs()
	}
	known := asListed(list)
	if known == nil && len(listed) > 0 {
		known = listed
	}
	choices, err := c.ownLogs(ctx, f.hosts, known)
	if err != nil || !c.FollowsLists() {
		return choices, err
	}
	rules, err := catalog.ParseRules(c.Follow.Include, c.Follow.Exclude)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	choices = choiceOfLists(choices, listed, rules, c.Follow.Start, f.left, behind, f.now())
	for i := range choices {
		if ch := &choices[i]; !ch.Own && ch.Start.Now && f.late(ch.Info.ID) {
			ch.Start = config.Start{Date: f.began, History: ch.Start.History}
		}
	}
	return choices, nil
}

// late says whether the lists did not name a log when they were first
// followed. "From now on" means from then on for such a log: a new shard is
// older than the list that names it.
func (f *fleet) late(id ctlog.Hash) bool {
	return f.left[id].Late || !f.began.IsZero() && !f.known[id]
}

// choiceOfLists adds to choices what becomes of the logs of the lists, and of
// those that have left them.
func choiceOfLists(choices []choice, listed []catalog.Listed, rules catalog.Rules, start config.Start, left map[ctlog.Hash]pastLog, behind func(ctlog.Hash) bool, now time.Time) []choice {
	seen := map[ctlog.Hash]bool{}
	for _, ch := range choices {
		seen[ch.Info.ID] = true
	}
	for _, l := range listed {
		if seen[l.ID] {
			continue
		}
		seen[l.ID] = true
		d := rules.Decide(l, now)
		choices = append(choices, choice{Info: l.Info, Lists: l.Lists, Follow: d.Follow, Why: d.Why, Start: start})
	}
	for _, id := range slices.SortedFunc(maps.Keys(left), func(a, b ctlog.Hash) int { return slices.Compare(a[:], b[:]) }) {
		past := left[id]
		if seen[id] {
			continue
		}
		ch := choice{Info: past.Info, Lists: past.Lists, Start: start}
		since := past.Gone
		if since.IsZero() {
			since = now
		}
		gone := "no longer listed since " + since.UTC().Format(time.DateOnly)
		if len(listed) == 0 {
			gone = "followed before; no list can be had at present"
		}
		switch d := rules.Decide(catalog.Listed{Info: past.Info, Lists: past.Lists}, now); {
		case !d.Follow:
			ch.Why = gone + "; " + d.Why
		case len(listed) == 0: // which says nothing of the log
			ch.Follow, ch.Why = true, gone
		case behind(id):
			ch.Follow, ch.Why = true, gone+", followed until its backlog is copied"
		default:
			ch.Why = gone + ", copied as far as it was wanted"
		}
		choices = append(choices, ch)
	}
	return choices
}

// note remembers what is followed now. f.changing is held.
func (f *fleet) note(choices []choice) {
	listed := map[ctlog.Hash]bool{}
	if f.lists != nil {
		for _, l := range f.lists.Logs() {
			listed[l.ID] = true
		}
	}
	f.mu.Lock()
	f.followed = map[ctlog.Hash]choice{}
	left := map[ctlog.Hash]pastLog{}
	news := 0
	for _, ch := range choices {
		if !ch.Follow {
			continue
		}
		f.followed[ch.Info.ID] = ch
		if ch.Own {
			continue
		}
		past := pastLog{Info: ch.Info, Lists: ch.Lists, Gone: f.left[ch.Info.ID].Gone, Late: f.late(ch.Info.ID)}
		switch {
		case len(listed) == 0: // no list is there to miss it
		case listed[ch.Info.ID]:
			past.Gone = time.Time{}
		case past.Gone.IsZero():
			past.Gone = f.now()
		}
		left[ch.Info.ID] = past
	}
	if f.began.IsZero() && len(listed) > 0 {
		f.began = f.now().UTC().Truncate(time.Second)
	}
	for id := range listed {
		if !f.known[id] {
			f.known[id] = true
			news++
		}
	}
	changed := news > 0 || !maps.EqualFunc(left, f.left, func(a, b pastLog) bool {
		return a.Gone.Equal(b.Gone) && a.Late == b.Late && slices.Equal(a.Lists, b.Lists) && sameInfo(a.Info, b.Info)
	})
	f.left = left
	state := fleetState{Began: f.began}
	for id := range f.known {
		state.Known = append(state.Known, hex.EncodeToString(id[:]))
	}
	f.mu.Unlock()
	if !changed {
		return
	}
	slices.Sort(state.Known)
	for _, id := range slices.SortedFunc(maps.Keys(left), func(a, b ctlog.Hash) int { return slices.Compare(a[:], b[:]) }) {
		state.Logs = append(state.Logs, left[id])
	}
	saveState(f.dir, followedFile, state, f.out)
}

// vanished reports whether a followed log is in no list any more.
func (f *fleet) vanished() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, past := range f.left {
		if !past.Gone.IsZero() {
			return true
		}
	}
	return false
}

// listStatuses are the lists with how many logs of each are followed.
func (f *fleet) listStatuses() []report.List {
	f.mu.Lock()
	lists := f.lists
	var names [][]string
	for id, ch := range f.followed {
		if f.left[id].Gone.IsZero() { // else it is followed although no list names it
			names = append(names, ch.Lists)
		}
	}
	f.mu.Unlock()
	return listStatuses(lists, names)
}

// pipeline is what the fleet asks of the appliance that runs.
type pipeline interface {
	SetLogs(context.Context, []ingest.Follow) error
	Status() ingest.Status
}

// applied says what a change of the set has changed.
type applied struct {
	Followed int      `json:"followed"`
	Added    []string `json:"added"`           // names
	Removed  []string `json:"removed"`         // names
	Lists    []string `json:"lists,omitempty"` // of a reload: what came of asking each
}

// apply chooses anew from a configuration and lists, and puts the choice in
// force. f.changing is held. Where it fails nothing has changed.
func (f *fleet) apply(ctx context.Context, p pipeline, c *settings, lists *catalog.Catalog) (applied, error) {
	behind := backlogs(p.Status())
	choices, err := f.choose(ctx, c, lists, func(id ctlog.Hash) bool { return behind[hex.EncodeToString(id[:])] })
	if err != nil {
		return applied{}, err
	}
	f.tiles.mark(choices)
	follows, err := f.hosts.follows(choices, f.out)
	if err != nil {
		return applied{}, err
	}
	if len(follows) == 0 {
		return applied{}, errNothing(choices)
	}
	if err := p.SetLogs(ctx, follows); err != nil {
		return applied{}, err
	}
	done := applied{Followed: len(follows), Added: []string{}, Removed: []string{}}
	now := map[ctlog.Hash]bool{}
	for _, ch := range choices {
		if now[ch.Info.ID] = ch.Follow; ch.Follow && !f.followed[ch.Info.ID].Follow {
			done.Added = append(done.Added, ch.Info.Name)
		}
	}
	for id, ch := range f.followed {
		if !now[id] {
			done.Removed = append(done.Removed, ch.Info.Name)
		}
	}
	slices.Sort(done.Removed)
	f.mu.Lock()
	f.c, f.lists = c, lists
	f.mu.Unlock()
	f.note(choices)
	return done, nil
}

// backlogs are the logs, by ID in hex, that have entries which are wanted and
// not delivered and verified yet; so may have those of which nothing is known
// yet.
func backlogs(st ingest.Status) map[string]bool {
	out := map[string]bool{}
	for _, l := range st.Logs {
		out[l.ID] = l.Halted == "" && (min(l.Delivered, l.Verified) < l.Wanted || l.Head == 0)
	}
	return out
}

// sameInfo reports whether nothing about a log differs.
func sameInfo(a, b ctlog.Info) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Operator == b.Operator && a.Kind == b.Kind && a.URL == b.URL && a.SubmissionURL == b.SubmissionURL &&
		a.MMD == b.MMD && a.State == b.State && a.StateSince.Equal(b.StateSince) && a.Start.Equal(b.Start) && a.End.Equal(b.End) &&
		a.FinalSize == b.FinalSize && a.FinalRoot == b.FinalRoot && a.Test == b.Test && a.TileURL == b.TileURL
}

var errNoReload = errors.New("this command reads its configuration once; only 'ctappliance run' reloads")
