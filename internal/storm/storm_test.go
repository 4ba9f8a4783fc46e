package storm

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"text/tabwriter"
)

var (
	runs = flag.Int("storm.runs", 1, "runs of each variant")
	seed = flag.Uint64("storm.seed", 1, "seed of the first run; the others follow")
)

// variant is a kind of server, and what it may do.
type variant struct {
	name         string
	tokens       bool // insert_deduplication_token is sent
	publishFirst bool // the server publishes tokens before it commits parts
	hidden       bool // late commits are not seen in system.processes
	steady       bool // the server neither dies nor blames rows
	limit        bool // a stated limit: what it doubles is counted, not wrong
}

var variants = []variant{
	{name: "tokens, publish first", tokens: true, publishFirst: true},
	{name: "tokens, commit first", tokens: true},
	{name: "no tokens, publish first", publishFirst: true},
	{name: "no tokens, commit first"},
	// Tokens stop what is hidden as long as rows come again under the same one.
	// They do not where the server died between and a trim writes them again, or
	// where refused rows are looked for.
	{name: "tokens, publish first, hidden zombies", tokens: true, publishFirst: true, hidden: true, steady: true},
	{name: "tokens, commit first, hidden zombies", tokens: true, hidden: true, steady: true},
	{name: "tokens, hidden zombies, deaths", tokens: true, hidden: true, limit: true},
	{name: "no tokens, hidden zombies", hidden: true, limit: true},
}

// total is what happened in the runs of a variant.
type total struct {
	runs, lives, boots, attempts, faulty, statements, trims int
	lost, doubled, dependents                               int
}

func (t *total) add(o total) {
	t.runs += o.runs
	t.lives += o.lives
	t.boots += o.boots
	t.attempts += o.attempts
	t.faulty += o.faulty
	t.statements += o.statements
	t.trims += o.trims
	t.lost += o.lost
	t.doubled += o.doubled
	t.dependents += o.dependents
}

// Whatever the store and the appliance go through: every entry once, and
// everything that belongs to it (I3, I4).
func TestStorm(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "variant\truns\tlives\tboots\tstatements\tattempts\tfaulty\ttrims\tlost\tdoubled\tdependents lost\t")
	kinds := map[string]int{}
	for _, v := range variants {
		var sum total
		t.Run(v.name, func(t *testing.T) {
			want := reference(t)
			for i := range uint64(*runs) {
				s := *seed + i
				t.Run(fmt.Sprint("seed ", s), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRun(t, v, s)
						defer r.srv.Close()
						got := r.all()
						r.compare(&got, want)
						r.counted(got.lost, got.doubled)
						sum.add(got)
						for k, n := range r.struck {
							kinds[k] += n
						}
						if got.lost > 0 || got.dependents > 0 || got.doubled > 0 && !v.limit {
							t.Errorf("seed %d: %d entries lost, %d doubled, %d dependents lost", s, got.lost, got.doubled, got.dependents)
						}
					})
				})
			}
		})
		if sum.runs > 0 {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.0f %%\t%d\t%d\t%d\t%d\t\n", v.name, sum.runs, sum.lives, sum.boots, sum.statements, sum.attempts,
				100*float64(sum.faulty)/float64(max(1, sum.attempts)), sum.trims, sum.lost, sum.doubled, sum.dependents)
		}
	}
	w.Flush()
	t.Logf("seeds %d to %d\n%s\nfaults: %v", *seed, *seed+uint64(*runs)-1, table.String(), kinds)
}
