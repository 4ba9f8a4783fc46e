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
//     doubling with every refused canary up to five minutes. The first refusal
//     of an epoch lowers the rate to 0.95 of it, and to 0.85 where no growth
//     has been seen to hold since the last one; refusals of requests that were
//     already on their way when the pacer reacted lower nothing.
//   - After that the rate grows by a fiftieth per hundred answers, at least a
//     second and ten times what the last refusal cost apart; by more after
//     eight, and after sixteen, such steps without a refusal.
//   - Failures that are no refusals (5xx, resets, HTML) lower the rate by 0.7
//     once per epoch when they are more than a twentieth of the last window,
//     but not below one request in ten seconds. They say nothing about the
//     limit: once there are answers again, the rate grows as at start-up until
//     it is where it was.
//   - Requests that we broke off ourselves count as nothing.
//   - Requests in flight are capped.
//
// Polls of heads are served before data (their class is [ctlog.ClassHead]), so
// that a backlog cannot blind the appliance.
//
// # Limits
//
// This is stepwise growth with multiplicative decrease: it stays within a few
// per cent of a limit it has found, and keeps asking. A controller that
// measures the delivered rate can replace it behind [ctlog.Pacer].
package pace
