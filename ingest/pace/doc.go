// Package pace decides when a request to a log may leave.
//
// One [Pacer] serves one rate domain: a host whose limit is shared by all that
// ask it. Every attempt, retries too, takes a turn from it, so nobody else
// owns patience, and the spacing of one fetcher's requests is the number of
// active fetchers divided by the rate: it grows with the workers by itself.
//
// # Rule
//
// The pacer is turn-based: one waiter at a time watches the clock, the others
// queue behind it. A rate that changes therefore applies to the very next
// launch; reservations would strand every sleeper on the old schedule.
//
//   - Start-up: the rate grows by half after at least ten answers and a second
//     without a refusal, until the first refusal.
//   - Refusal (429, or 503 with Retry-After): the whole domain is frozen for
//     Retry-After plus up to a tenth, or, where there is none, for 1.5 spacings
//     doubling with every refused canary up to five minutes. Requests that were
//     on their way when the pacer reacted cause no further reaction; a refused
//     canary means "wait", never "lower the rate".
//   - The limit is between the highest rate that has held and the lowest that
//     was refused. That bracket is searched, and its upper end tried again, as
//     often as a budget of refusals allows: a small share of the requests, and
//     a still smaller one where a refusal blocks for a while.
//   - Failures that are no refusals (5xx, resets, HTML) lower the rate by 0.7
//     once per epoch when they are more than a twentieth of the last window.
//     They say nothing about the limit: the rate comes back with the answers.
//   - Requests that we broke off ourselves count as nothing.
//   - Requests in flight are capped.
//
// Polls of heads are served before data (their class is [ctlog.ClassHead]), so
// that a backlog cannot blind the appliance; but not two in a row while data
// waits. The logs of a domain take turns (see [Pacer.Share]).
package pace
