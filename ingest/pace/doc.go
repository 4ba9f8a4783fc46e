// Package pace decides when a request to a log may leave.
//
// One [Pacer] serves one rate domain: a host whose limit is shared by all that
// ask it. Every attempt, retries too, takes a turn from it, so nobody else
// owns patience, and the spacing of one fetcher's requests is the number of
// active fetchers divided by the rate: it grows with the workers by itself.
//
// # Turns
//
// The pacer is turn-based: one waiter at a time watches the clock, the others
// queue behind it. A rate that changes therefore applies to the very next
// launch; reservations would strand every sleeper on the old schedule.
//
// Each log has a [Pacer.Share]. The share whose last turn is longest ago is
// next, whatever the number of its waiters; within a share they are served in
// their order. Polls of heads (their class is [ctlog.ClassHead]) go first, of
// whatever share, so that a backlog cannot blind the appliance, but not twice
// in a row while data waits, so that sixty logs' polls cannot starve it.
//
// Launches are 0.995 to 1.005 of a spacing apart. A launch that is late by a
// timer's coarseness is caught up with; what an idle domain, a freeze or
// requests in flight have held up is not, since limits without a burst refuse
// it.
//
// # Finding the limit
//
// The limit is looked for between the highest rate that has held and the lowest
// that was refused. A rate has held when a round of its own requests was
// answered and there was demand for it: an application that asks less neither
// grows the rate nor loses what is known.
//
//   - Start-up: the rate grows by half after ten answers and a second, by a
//     quarter with many in flight, until the first refusal.
//   - The bracket is halved until it is closed to about a per cent.
//   - Then, as often as the budget allows, the rate is probed two per cent
//     higher. While probes hold, the gain doubles up to a half; but not beyond
//     what four requests in flight make of it, before more has been spent above
//     the old rate than the burst that fed the last overflow.
//
// The budget is a share of the answers, one refusal in two hundred; where a
// refusal blocks, one in 1700, and a fiftieth of the time for the blocks. A
// failed probe is paid from it, with all that was on its way, before the next
// one begins. The cost of being refused is therefore bounded by construction,
// whatever the server's kind.
//
// # Refusals
//
// A refusal is 429, or 503 with Retry-After.
//
//   - Retry-After is honoured, plus up to a tenth, by the whole domain.
//   - Without it the domain waits for 1.5 spacings and the jitter of answers,
//     or for as long as the last block has taken.
//   - An epoch has one reaction: refusals of what was on its way cause none.
//   - If the first answer after a reaction is a refusal too, it was a canary:
//     the wait doubles, up to five minutes, requests leave one at a time, and
//     the rate stays; and after the next reaction they leave one at a time at
//     once. There is no other way to be refused many times in a row than to have
//     that many in flight.
//   - Where a refusal costs nothing but itself, lonely ones are no verdict: up
//     to four in a thousand lower nothing.
//   - A failed probe goes back to the rate that has held. A steady rate that is
//     refused is lowered by 1.5 %, then by 3, 6, 12 and 25 % until one holds, but
//     not below what was served since the last overflow, which is no more than
//     the limit; without blocks, from the third time on to the mean of what was
//     refused and what was served.
//   - A limit blocks if Retry-After says so, or if canaries were refused for
//     longer than two spacings. There a step must hold for ten times the block
//     before the next one, and the first refusal is a verdict.
//   - A rate that had held for long is gone back to, first after some seconds,
//     then three times as long after each failure: others' bursts and bad
//     minutes do not lower the rate for good.
//   - After several refusals at steady rates, 800 requests leave a tenth slower.
//     What is refused then as well has nothing to do with the rate: it is
//     borne, up to six in a thousand.
//
// # Failures
//
// Failures that are no refusals (5xx, resets, HTML) say nothing about the
// limit. When they are more than a twentieth of the last sixty outcomes they
// ease the rate by 0.7, once per epoch: down to a half while some are answered,
// to one request in a second while nearly none is, and to one in ten seconds
// after minutes. The rate comes back with the answers. Requests that we broke
// off ourselves count as nothing.
//
// # Caps
//
// Options.Max and Options.MaxInFlight are never exceeded, see
// [Pacer.SetLimits]. Requests in flight are no more than twice what rate and
// latency need, and eight.
//
// # State
//
// [Pacer.State] is what the next life begins with: nine tenths of the limit. A
// state older than a day is a hint for start-up; one that cannot be is ignored.
//
// # Evidence
//
// "make pace" runs the law of this package against server models, named ones
// and 200 with parameters at random, beside ports of other clients' policies.
// The simulator needs no goroutines; TestShellAgrees shows that the turnstile
// comes to the same.
//
// # Limits
//
// Where others' bursts take a whole limit every few minutes, or the rest of a
// bucket with a burst of two or three is others' random load, the rate stays
// well below what would be possible. A limit on requests at once is found as if
// it were a rate, at seven eighths of what it allows. A window of a minute or
// more looks like a block; it takes ten minutes to come near it. Hosts of one
// operator that share a limit are separate domains.
package pace
