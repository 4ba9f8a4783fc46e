// Package plain is how the program talks: text that a terminal shows and does
// not act on, whoever chose it, figures for people, tables of them.
//
//	who wrote it                        how it is shown
//	a user, a file of theirs            [Quote], [QuotePath]: quoted, escaped where it must be
//	a log, a list, a server             [Printable]: printable ASCII, at most 200 bytes
//	us, with any of those in it         [OnScreen]; [LineError] and [OneLine] for errors
//
// Figures are as short as a screen needs them ([Count], [Brief], [Share],
// [Bytes], [PerSecond]); what is exact goes to --json. A [Table] gives up its
// columns one by one until it fits.
package plain
