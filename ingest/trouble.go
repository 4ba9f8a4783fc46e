package ingest

import "time"

// worthALine is how long something must fail before it is logged: what passes
// sooner is no news where fifty logs are asked every few seconds.
const worthALine = time.Minute

// trouble counts failures in a row. Its zero value is none.
type trouble struct {
	n     int       // failures in a row
	since time.Time // of the first of them; zero while there are none
	told  bool      // it was logged
}

// failed counts one more, and reports whether it is time to log it: once, when
// it has lasted for worthALine.
func (t *trouble) failed() (tell bool) {
	now := time.Now()
	if t.n++; t.n == 1 {
		t.since = now
	}
	tell = !t.told && now.Sub(t.since) >= worthALine
	t.told = t.told || tell
	return tell
}

// over ends it, and returns how long it lasted, 0 where it was never logged.
func (t *trouble) over() (lasted time.Duration) {
	if t.told {
		lasted = time.Since(t.since)
	}
	*t = trouble{}
	return lasted
}
