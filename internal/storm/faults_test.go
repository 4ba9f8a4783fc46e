package storm

import (
	"fmt"
	"time"

	"ctappliance/store/storetest"
)

// decide draws what happens to a statement. It is called by the server.
func (r *run) decide(st storetest.Statement) storetest.Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	ledger := st.Table == "ledger"
	if ledger {
		r.got.attempts++
	}
	if r.calm {
		return storetest.Fault{}
	}
	share := 4 // in a hundred
	switch {
	case ledger:
		share = 35
	case st.Table == "logs":
		share = 10
	case st.Kind == storetest.Insert:
		share = 9
	case st.Kind == storetest.Meta:
		share = 1
	}
	if r.rng.IntN(100) >= share {
		return storetest.Fault{}
	}
	if ledger {
		r.got.faulty++
	}
	f := r.draw(st)
	r.note(fmt.Sprintf("%s: %s %s", f.Name, st.Kind, st.QueryID))
	if r.rng.IntN(12) == 0 {
		r.note("killed in a statement: " + st.QueryID)
		r.kill()
	}
	return f
}

// draw chooses a fault for a statement. r.mu is held.
func (r *run) draw(st storetest.Statement) storetest.Fault {
	type option struct {
		weight int
		f      storetest.Fault
	}
	late := time.Duration(1+r.rng.IntN(90)) * time.Second
	options := []option{
		{3, storetest.Fault{Name: "refused", Refuse: true}},
		{2, storetest.Fault{Name: "exception", Commit: storetest.CommitNone, Answer: storetest.AnswerException, Code: r.code(st)}},
		{1, storetest.Fault{Name: "502", Commit: storetest.CommitNone, Answer: storetest.AnswerBadGate}},
		{2, storetest.Fault{Name: "page of HTML", Commit: storetest.CommitNone, Answer: storetest.AnswerHTML}},
		{1, storetest.Fault{Name: "nothing said", Commit: storetest.CommitNone, Answer: storetest.AnswerEmpty}},
		{1, storetest.Fault{Name: "silence", Commit: storetest.CommitNone, Answer: storetest.AnswerSilence}},
		{2, storetest.Fault{Name: "slow", Commit: storetest.CommitLate, After: late}},
	}
	if st.Kind != storetest.Insert {
		options = append(options, option{1, storetest.Fault{Name: "garbage", Answer: storetest.AnswerGarbage}})
	} else {
		options = append(options,
			option{3, storetest.Fault{Name: "cut in the body", CutAfter: 1 + r.rng.Int64N(2000)}},
			option{4, storetest.Fault{Name: "commit, then reset", Answer: storetest.AnswerReset}},
			option{2, storetest.Fault{Name: "commit, then exception", Answer: storetest.AnswerException, Code: r.code(st)}},
			option{1, storetest.Fault{Name: "commit, then exception in band", Answer: storetest.AnswerInBand, Code: r.code(st)}},
			option{2, storetest.Fault{Name: "commit, then 502", Answer: storetest.AnswerBadGate}},
			option{1, storetest.Fault{Name: "commit, then silence", Answer: storetest.AnswerSilence}},
			option{3, storetest.Fault{Name: "half a commit", Commit: storetest.CommitHalf}},
			option{6, storetest.Fault{Name: "late commit", Commit: storetest.CommitLate, After: late, Hidden: r.v.hidden, Stubborn: r.rng.IntN(2) == 0, Answer: storetest.AnswerReset}},
			option{2, storetest.Fault{Name: "late commit, 502", Commit: storetest.CommitLate, After: late, Hidden: r.v.hidden, Stubborn: r.rng.IntN(2) == 0, Answer: storetest.AnswerBadGate}},
		)
	}
	if r.mortal && st.Table != "logs" && st.Kind != storetest.Meta {
		// Not where a trim has just been proven: nothing asks between a proof and
		// its trim but what writes table logs.
		options = append(options, option{4, storetest.Fault{Name: "death", Die: r.death()}})
	}
	sum := 0
	for _, o := range options {
		sum += o.weight
	}
	n := r.rng.IntN(sum)
	for _, o := range options {
		if n -= o.weight; n < 0 {
			if d := o.f.Die; d != nil {
				if st.Kind != storetest.Insert {
					go r.srv.Restart(d.Restart)
					o.f = storetest.Fault{Name: "death between inserts", Answer: storetest.AnswerReset}
				}
			}
			return o.f
		}
	}
	panic("unreachable")
}

// code is that of an exception. Some say that the rows are to blame, of which
// the ledger's are as they were: a row that is found guilty has a ledger row all
// the same, and its dependents were written before.
func (r *run) code(st storetest.Statement) int {
	if st.Table == "ledger" && !r.v.steady && r.rng.IntN(4) == 0 {
		return 117
	}
	codes := []int{241, 252, 243, 242, 164, 60, 159, 202, 210, 999, 1002}
	return codes[r.rng.IntN(len(codes))]
}

// death draws how a server dies and comes back. r.mu is held.
func (r *run) death() *storetest.Death {
	d := &storetest.Death{At: storetest.DieAt(r.rng.IntN(3)), Restart: storetest.Restart{Down: time.Duration(3+r.rng.IntN(60)) * time.Second}}
	switch r.rng.IntN(7) {
	case 0:
	case 1:
		d.Power = true
	case 2, 3, 4:
		safe, odds := r.safe, 1+r.rng.IntN(3)
		table := []string{"", "ledger", "certs", "certs", "names", "name_certs", "profiles", "issuers"}[r.rng.IntN(8)]
		lost := map[uint64]bool{}
		newest := r.srv.Snapshot().Seq()
		for n := safe + 1; n <= newest+8; n++ {
			lost[n] = r.rng.IntN(odds) == 0
		}
		d.Lose = func(p storetest.Part) bool {
			return p.Seq > safe && lost[p.Seq] && (table == "" || p.Table == table) && p.Table != "meta"
		}
	default:
		if len(r.snaps) > 0 {
			d.To = r.snaps[r.rng.IntN(len(r.snaps))]
		}
	}
	return d
}
