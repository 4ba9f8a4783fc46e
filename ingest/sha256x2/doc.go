// Package sha256x2 hashes messages with SHA-256, two at a time.
//
// The SHA instructions of amd64 take four cycles for two rounds and could begin
// the next ones after two, but each needs the result of the one before. Two
// messages have nothing to do with each other: interleaved, both are hashed in
// the time of one. Whoever has many messages (the leaves of a tile) or two and
// more of the same size (a precertificate and its TBSCertificate) gains nearly
// that.
//
// Without those instructions, or on other machines, crypto/sha256 does it.
// It is the oracle of the tests everywhere.
package sha256x2
