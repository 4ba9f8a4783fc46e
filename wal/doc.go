// Package wal is an append-only log of opaque records with one promise: when
// Append returns nil, the record survives kill -9 and power loss.
package wal
