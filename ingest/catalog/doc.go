// Package catalog knows which logs exist, from the lists that browsers
// publish, and which of them to follow and why.
//
// # Promise
//
// [Catalog.Logs] is the union of the last good list of every source. A list
// that is not signed as it must be, is older than the one in hand, or is not
// plausible never takes its place. The last good ones are kept on disk and
// used without a network, for ever if need be.
//
// # Sources
//
// Google's list (Chrome's policy, signed) and Apple's (not signed), and any
// other list of the same schema: a URL, or a file for offline use. A source
// with a key wants a signature over the exact bytes; it is verified before
// anything else looks at them, and again whenever they are read from disk.
//
// # What is kept out
//
//	not what was asked for      a page instead of a list, cut short, over 4 MiB, or inflating to more than that
//	a wrong signature           also where list and signature are of two versions: asked again soon
//	older than the last one     by log_list_timestamp; where that does not tell, by Apple's asset version, then by version
//	implausible                 no operators; over 5000 logs; of ten logs or more, fewer than half are left, or
//	                            fewer than half of those that can be followed
//
// The first two happen by themselves and pass. Where a publisher, or the owner
// of a file, means what looks like one of the last two, removing the cached
// list (the message names the file) while nothing runs accepts it. A list that
// is confirmed again and again but was dated more than ten weeks ago is used,
// and mentioned once a day: somebody may be holding newer ones back.
//
// An unsigned list that is dated more than a day in the future, by our clock,
// does not count as newer than others: whoever can forge one list cannot shut
// out all later ones.
//
// # Union
//
// Logs are the same if their IDs are, whatever the lists call them. Where
// lists differ:
//
//	problem             an entry without a Problem beats one with
//	state, since, final the more alive state: usable, qualified, readonly, pending, retired, rejected,
//	                    a state that we do not know, none; among equals the newest list's
//	test                only if all lists say so
//	all else            the newest list's, by log_list_timestamp; among equals the first source's
//
// # Choice
//
// [Rules] decide about each log by itself, and say why in a few words. See
// [ParseRules] for how a user writes them. Never crawled, whatever they say:
// retired and rejected logs, states that we do not know, entries with a
// Problem (a placeholder's URL, an ID that is not its key's). Pending and test
// logs only where a rule asks for them.
//
// # Files
//
//	DIR/NAME.list    one per source: a header in one line of JSON, then the list and its signature, byte for byte
//
// Written whole, by rename, so that list and signature belong together. A
// damaged one is set aside (NAME.list.damaged-TIME) and fetched again.
//
// # Network
//
// One GET per list and refresh, one more for a signature if the list has
// changed. Redirects are followed within the host alone. Bodies are bounded,
// requests take a minute at most, and public addresses only are dialled (see
// [ctlog.NewTransport]).
package catalog
