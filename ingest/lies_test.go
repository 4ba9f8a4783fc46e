package ingest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ctappliance/ingest/ctlog/ctlogtest"
)

// lie is one way in which a log misbehaves, and what must come of it.
type lie struct {
	name    string
	kind    int // only this protocol; -1: both
	faults  []ctlogtest.Fault
	still   bool          // the log does not grow while it lies
	fresh   bool          // it lies from the first poll on
	grown   uint64        // what it grows to; default lieGrown
	lasts   time.Duration // default 2 h
	limit   uint64        // entries that may be called verified while it lasts; 0: all
	halt    string        // kind of the halt; empty: it is waited out, and over when the fault is
	notes   []string      // kinds of evidence that are kept without a halt
	says    string        // part of the status's last error while it lasts; empty: none
	alarm   string        // part of an alarm
	counts  func(HeadCounts) uint64
	bulky   bool // heap is measured
	audits  bool // the audit looks every ten minutes
	trimmed bool // the WAL is trimmed before the lie is found
	often   int  // requests in an hour; default 300
}

const (
	lieSize  = 600 // entries when all is well
	lieGrown = 900 // and under the lie
	lieAt    = 700 // the entry that is wrong, where one is
)

const (
	both       = -1
	rfcOnly    = int(ctlogtest.RFC6962)
	staticOnly = int(ctlogtest.Static)
)

// everyClass repeats a lie for the classes of requests that a tail makes.
func everyClass(l lie, says string, classes ...ctlogtest.Class) (out []lie) {
	for _, class := range classes {
		one := l
		one.name = fmt.Sprintf("%s, %s", l.name, class)
		one.says = says
		one.faults = slices.Clone(l.faults)
		for i := range one.faults {
			one.faults[i].On = class
		}
		out = append(out, one)
	}
	return out
}

func allLies() (all []lie) {
	const head, data, proof = ctlogtest.ClassHead, ctlogtest.ClassData, ctlogtest.ClassProof
	one := func(f ctlogtest.Fault) []ctlogtest.Fault { return []ctlogtest.Fault{f} }
	at := func(m ctlogtest.Mode) []ctlogtest.Fault {
		return one(ctlogtest.Fault{Mode: m, From: lieAt, To: lieAt + 1})
	}
	add := func(lies ...lie) { all = append(all, lies...) }

	// Heads.
	rolledBack := func(c HeadCounts) uint64 { return c.RolledBack }
	rejected := func(c HeadCounts) uint64 { return c.Rejected }
	add(
		lie{name: "rolled-back head", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.RolledBack, N: 400}), still: true, counts: rolledBack},
		lie{name: "rolled-back head for 26 h", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.RolledBack, N: 250}), still: true, lasts: 26 * time.Hour,
			counts: rolledBack, notes: []string{KindRollback}, alarm: "has shown no more than 350"},
		lie{name: "rolled-back head of another tree", kind: both, faults: []ctlogtest.Fault{{Mode: ctlogtest.RolledBack, N: 100}, {Mode: ctlogtest.SplitView}}, still: true,
			halt: KindSplitView},
		lie{name: "rolled-back head, proofs wrong", kind: both, faults: []ctlogtest.Fault{{Mode: ctlogtest.RolledBack, N: 100}, {Mode: ctlogtest.CorruptHash}}, still: true,
			halt: KindSplitView},
		lie{name: "two roots for one size", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SplitView}), still: true, halt: KindSplitView},
		lie{name: "root that does not match the leaves", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SplitView}), limit: lieSize, grown: 700, halt: KindMismatch},
		lie{name: "root that the proofs do not lead to", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SplitView}), limit: lieSize, halt: KindNoProof},
		lie{name: "root of nothing, from the first poll", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SplitView}), still: true, fresh: true, limit: 1, halt: KindNoProof},
		lie{name: "bad signature, from the first poll", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.BadSignature}), still: true, fresh: true, limit: 1, says: "signature", notes: []string{KindBadHead}},
		lie{name: "bad signature", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.BadSignature}), limit: lieSize, says: "signature", notes: []string{KindBadHead}, counts: rejected},
		lie{name: "signature of another key", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.WrongKey}), limit: lieSize, says: "signature", notes: []string{KindBadHead}, counts: rejected},
		lie{name: "checkpoint of another origin", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.WrongOrigin}), limit: lieSize, says: "origin"},
		lie{name: "timestamp in the future", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Future, Delay: 30 * 365 * 24 * time.Hour}),
			counts: func(c HeadCounts) uint64 { return c.Future }},
		lie{name: "timestamp beyond all time", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Future, Delay: 1<<63 - 1}), limit: lieSize, says: "not a time"},
		lie{name: "larger tree dated earlier", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Backdated}), notes: []string{KindBackdated},
			counts: func(c HeadCounts) uint64 { return c.Backdated }},
		lie{name: "JSON keys twice in a head", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.TwiceKeys, On: head})},
	)
	for text, says := range map[string]string{"9223372036854775808": "larger than any log", "18446744073709551616": "", "-1": "", "600.0": "", "9e2": "",
		"1e400": "", "0000000900": "", `"900"`: "", "null": "", fmt.Sprintf("1%0400d", 0): ""} {
		name := text
		if len(name) > 25 {
			name = name[:8] + "…, 401 digits"
		}
		add(lie{name: "head size " + name, kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.OddSize, Text: text}), limit: lieSize, says: first(says, "getting c")})
	}

	// Entries.
	add(
		lie{name: "tile too long", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.WrongLength, On: data}), limit: lieSize, says: "data tile"},
		lie{name: "tile too short", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.WrongLength, N: -1, On: data}), limit: lieSize, says: "data tile"},
		lie{name: "hash tile too long", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.WrongLength, N: 32, On: proof}), limit: lieSize, says: "hash tile"},
		lie{name: "hash tile too short", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.WrongLength, N: -32, On: proof}), limit: lieSize, says: "hash tile"},
		lie{name: "stale partial tile", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.StalePartial, N: 10, On: data}), limit: 768, says: "holds 122 entries, want 132"},
		lie{name: "404 on partial tiles", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.PartialGone}), limit: 768, says: "404"},
		lie{name: "404 on everything", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Missing}), limit: lieSize, says: "404"},
		lie{name: "more entries than asked", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.ExtraEntries, N: 3}), limit: lieSize, says: "more than"},
		lie{name: "10 million entries", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.ExtraEntries, N: 10_000_000}), limit: lieSize, says: "too large", alarm: "too large", bulky: true, lasts: 20 * time.Minute, often: 1500},
		lie{name: "partial tile with more than asked", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.ExtraEntries, N: 3, From: 768, To: 900}), limit: 768, says: "holds 135 entries, want 132"},
		lie{name: "fewer entries than asked", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.ShortAnswer, N: 7})},
		lie{name: "tile cut inside an entry", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.ShortAnswer, N: 7}), limit: lieSize, says: "data tile"},
		lie{name: "empty answers for ever", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.EmptyAnswer}), limit: lieSize, says: "entries"},
		lie{name: "JSON keys twice in entries", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.TwiceKeys, On: data})},
		lie{name: "JSON keys twice in proofs", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.TwiceKeys, On: proof})},
		lie{name: "leaf of version 2", kind: rfcOnly, faults: at(ctlogtest.LeafVersion), limit: lieSize, halt: KindMismatch},
		lie{name: "unknown entry type", kind: rfcOnly, faults: at(ctlogtest.EntryType), limit: lieSize, halt: KindMismatch},
		lie{name: "unknown entry type", kind: staticOnly, faults: at(ctlogtest.EntryType), limit: lieSize, says: "entry type 32769"},
		lie{name: "entries swapped", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SwapEntries, From: lieAt, To: lieAt + 2}), limit: lieSize, halt: KindMismatch},
		lie{name: "entry altered", kind: both, faults: at(ctlogtest.CorruptEntry), limit: lieSize, halt: KindMismatch},
		lie{name: "entry altered, WAL trimmed", kind: rfcOnly, faults: at(ctlogtest.CorruptEntry), limit: lieSize, halt: KindMismatch, trimmed: true},
		lie{name: "history rewritten", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.CorruptEntry, From: 0, To: 512}), still: true, audits: true,
			alarm: "now serves other entries", notes: []string{KindRewritten}},
		lie{name: "leaf_index wrong", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.CorruptIndex}), limit: lieSize, says: "says that its index"},
		// Chains are not signed: a log that serves others is believed, but a
		// certificate must have the hash that it was asked for by.
		lie{name: "chain altered", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.CorruptChain, From: lieSize, To: lieGrown})},
		lie{name: "chain altered", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.CorruptChain, From: lieSize, To: lieGrown}), says: "getting issuer"},
		lie{name: "proof that does not fit", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.CorruptHash}), limit: lieSize, halt: KindNoProof},
	)

	// Transport.
	add(everyClass(lie{name: "invalid base64", kind: rfcOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.BadBase64}), limit: lieSize}, "getting c", head, data, proof)...)
	add(everyClass(lie{name: "invalid base64", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.BadBase64}), limit: lieSize}, "base64", head)...)
	add(everyClass(lie{name: "half an answer", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.BadJSON}), limit: lieSize}, "getting", head, data, proof)...)
	add(everyClass(lie{name: "HTML with status 200", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.HTML}), limit: lieSize}, "getting", head, data, proof)...)
	add(everyClass(lie{name: "truncated gzip", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.TruncatedGzip}), limit: lieSize}, "gzip", head, data, proof)...)
	add(everyClass(lie{name: "gzip bomb of 10 GiB", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.GzipBomb}), limit: lieSize, bulky: true, lasts: 20 * time.Minute}, "too large", head, proof)...)
	add(everyClass(lie{name: "gzip bomb of 10 GiB", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.GzipBomb}), limit: lieSize, bulky: true, lasts: 20 * time.Minute, alarm: "too large", often: 1500}, "too large", data)...)
	// Small enough to be read whole before it unfolds.
	add(everyClass(lie{name: "gzip bomb of 4 GiB in 4 MB", kind: staticOnly, faults: one(ctlogtest.Fault{Mode: ctlogtest.GzipBomb, N: 4 << 30}), limit: lieSize, bulky: true, lasts: 20 * time.Minute, alarm: "too large"}, "too large", data)...)
	add(everyClass(lie{name: "gzip bomb of 32 MiB in 33 kB", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.GzipBomb, N: 32 << 20}), limit: lieSize}, "decompressed", head, proof)...)
	add(everyClass(lie{name: "body of 10 GB", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.EndlessBody, N: 10e9}), limit: lieSize, bulky: true, lasts: 20 * time.Minute}, "too large", head, proof)...)
	add(everyClass(lie{name: "body of 10 GB", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.EndlessBody, N: 10e9}), limit: lieSize, bulky: true, lasts: 20 * time.Minute, alarm: "too large", often: 1500}, "too large", data)...)
	add(everyClass(lie{name: "slow-loris body", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SlowBody}), limit: lieSize}, "deadline", head, data)...)
	add(everyClass(lie{name: "slow-loris header", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.SlowHeader}), limit: lieSize}, "deadline", head, data, proof)...)
	for name, to := range map[string]string{"to itself": "", "to another host": "https://other.invalid/ct/v1/get-sth", "to 169.254.169.254": "http://169.254.169.254/latest/meta-data/"} {
		add(everyClass(lie{name: "redirect " + name, kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Redirect, Location: to}), limit: lieSize}, "redirects are not followed", head, data)...)
	}
	add(everyClass(lie{name: "reset before the header", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.HangUp}), limit: lieSize}, "reset by peer", head, data, proof)...)
	for name, n := range map[string]int64{"after the header": 0, "after 1 byte": 1, "after 100 bytes": 100} {
		add(everyClass(lie{name: "reset " + name, kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Reset, N: n}), limit: lieSize}, "reset by peer", head, data)...)
	}
	add(everyClass(lie{name: "reset after the last byte", kind: both, faults: one(ctlogtest.Fault{Mode: ctlogtest.Reset, N: 1 << 40})}, "", head, data)...)
	return all
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// Whatever a log does: nothing is called verified that is not in the signed
// tree, nothing delivered is lost or doubled, memory and requests are bounded,
// the status says whether it is waited for or halted, evidence is there where
// it is due and outlives a restart, other logs go on, and what is no halt is
// over when the fault is.
func TestLogLies(t *testing.T) {
	for _, l := range allLies() {
		for _, kind := range []ctlogtest.Kind{ctlogtest.RFC6962, ctlogtest.Static} {
			if l.kind != both && l.kind != int(kind) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", l.name, kind), func(t *testing.T) { l.run(t, kind) })
		}
	}
}
