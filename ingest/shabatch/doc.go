// Package shabatch hashes many messages with SHA-256 or SHA-1, several at a
// time.
//
// One message cannot be hashed faster than its blocks follow on each other:
// each round needs the result of the one before. Messages have nothing to do
// with each other, so their rounds can be done together. Two ways, by what the
// processor has:
//
//	sixteen lanes   AVX-512: a register holds a word of each of sixteen messages
//	two lanes       the SHA instructions, interleaved for two messages (SHA-256)
//
// Sixteen lanes take the time of about eight blocks in pairs, whether they have
// work or not. So they are kept full: messages are taken the longest first, and
// a lane that has finished one takes the next; when fewer lanes are at work than
// pairs would be as fast with, pairs do the rest. Whoever has many messages
// should hand them over together: the leaves of a tile, all that is hashed of
// the entries of a record.
//
// Without those instructions, or on other machines, crypto/sha256 and
// crypto/sha1 do it. They are the oracles of the tests everywhere.
//
// The sixteen lanes read the blocks of messages and nothing behind them; those
// without work read what another one reads.
package shabatch
