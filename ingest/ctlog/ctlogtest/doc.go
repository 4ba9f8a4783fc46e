// Package ctlogtest is a Certificate Transparency log in memory: it speaks
// RFC 6962 (section 4) or static-ct-api (c2sp.org/static-ct-api) with real
// signatures over realistic certificates, grows while it is watched, counts
// what it serves and misbehaves on demand. Tests use it through
// [Log.Handler]; a process of its own runs it through [Serve].
//
// It is the oracle for the clients in package ctlog. So that both cannot be
// wrong in the same way it shares no code with them and imports nothing of
// them: encodings, Merkle tree, signed notes and log list are its own.
package ctlogtest
