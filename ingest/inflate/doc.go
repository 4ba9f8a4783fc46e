// Package inflate decompresses gzip (RFC 1952) that is in memory whole into
// memory: what a tile of a log is. Knowing that, it needs no window, no
// interface call per byte and no copy: a match is copied within the output.
//
// It decodes the way libdeflate does: 64 bits of input at a time, a table whose
// entries say all about a symbol, up to three literals between two looks at the
// input, matches copied by words that may run over their end. Near the end of
// either buffer a second loop takes over, which looks before each step.
//
// Everything about the input is chosen by a stranger: the output is bounded by
// the caller, memory is taken as it is filled, whatever the trailer promises, and
// no index is unchecked. What compress/flate refuses is refused; it is the
// oracle of the tests.
package inflate
