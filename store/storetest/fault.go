package storetest

import "time"

// Kind is what a statement does.
type Kind string

// The kinds of statements.
const (
	Hello     Kind = "hello"     // what the client library asks on every connection
	Meta      Kind = "meta"      // migrations, and what Open reads back
	Insert    Kind = "insert"    // rows in the Native format
	Prove     Kind = "prove"     // counts of ledger ranges
	Highest   Kind = "highest"   // of a ledger range
	Indices   Kind = "indices"   // of a ledger range
	Epoch     Kind = "epoch"     // UUID and start time
	Processes Kind = "processes" // system.processes
	Kill      Kind = "kill"      // KILL QUERY … SYNC
	Unknown   Kind = "unknown"
)

// Statement is one request as [Server.Decide] sees it, before any of its body
// was read where it is an insert.
type Statement struct {
	N       int // of this server, from 1
	Kind    Kind
	Table   string // of an insert
	QueryID string
	Query   string
}

// Commit says whether and when a statement takes effect.
type Commit uint8

// When a statement takes effect.
const (
	CommitNow  Commit = iota
	CommitNone        // never
	CommitHalf        // only the first of several parts, or, of one, nothing
	CommitLate        // after Fault.After
)

// Answer is what the client is told.
type Answer uint8

// Answers.
const (
	AnswerTruth     Answer = iota // what came of it; with CommitLate the client waits for it
	AnswerReset                   // the connection ends without an answer
	AnswerException               // an exception of Fault.Code, whatever came of it
	AnswerInBand                  // status 200, and the exception in the body
	AnswerBadGate                 // 502 with a page of HTML
	AnswerHTML                    // status 200 with a page of HTML, as a captive portal gives
	AnswerEmpty                   // status 200 and nothing else
	AnswerGarbage                 // status 200 and random bytes
	AnswerHuge                    // status 200 and Fault.Bytes bytes of short rows
	AnswerGzipBomb                // status 200, gzip, 64 MiB of zeros
	AnswerSilence                 // nothing, until the client goes away
	AnswerText                    // status 200, with a server's headers, and Fault.Text
)

// Fault is what happens to a statement. The zero value is nothing.
type Fault struct {
	Name string // for tables of results

	// Refuse ends the connection before anything of the request was looked at.
	Refuse bool
	// CutAfter, if not 0, ends the connection after so many bytes of an
	// insert's body. The statement does not take effect.
	CutAfter int64
	// Slow is the time that each byte of an insert's body and of the answer
	// takes.
	Slow time.Duration

	Commit Commit
	After  time.Duration // CommitLate: how long the statement takes
	// Hidden keeps a late statement out of system.processes until it takes
	// effect: the request sits in a socket, or in a proxy.
	Hidden bool
	// Stubborn makes a late statement take effect when it is killed instead of
	// dying.
	Stubborn bool

	Answer Answer
	Code   int    // of the exception; default 241
	Text   string // of the exception, or of the answer
	Bytes  int64

	// Die, if not nil, restarts the server while the statement commits.
	Die *Death
}

// Death is a restart in the middle of a statement.
type Death struct {
	At DieAt
	Restart
}

// DieAt is a point in the life of an insert.
type DieAt uint8

// Where a server dies.
const (
	DieBefore  DieAt = iota // nothing has happened
	DieBetween              // of token and part the first is there, the second is not
	DieAfter                // all has happened but the answer
)

// Restart says how a server comes back.
type Restart struct {
	// Down is how long it refuses connections; at least 3 s, which is less
	// than a server needs.
	Down time.Duration
	// Power loses what was not synced: tokens of the last half minute, and
	// parts too where the server does not sync what it acknowledges.
	Power bool
	// Lose, if not nil, is asked for every part: true loses it.
	Lose func(Part) bool
	// To, if not nil, is the state that the server comes back with.
	To *Snapshot
	// UUID, if not empty, is the server's from now on: another machine.
	UUID string
}
