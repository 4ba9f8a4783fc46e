// Package world stands for the logs of the world: it reads a log list as
// Google publishes it and makes a local log for every entry, with another key
// at another address, that grows as the real one does, only slower. The list
// is rewritten to match, signed with the world's own key, and served beside
// the logs. What an appliance makes of all this, unattended, can then be held
// against what the logs really held.
//
// # What stays of a list
//
// Operator, description, state, interval, MMD and submission prefix stay.
// log_id and key are those of the local log, the size and root of a final tree
// head too. In memory ([World.Transport]) the URLs stay as well; on the
// loopback interface ([World.Listen]) every host of the list becomes an
// address of its own in 127.0.0.0/8, because rate limits are per host, and logs
// that share one in the list share it here. The list's timestamp is that of its
// publication. Entries that no one may ask for are there all the same: retired
// logs, and placeholders, which keep their URLs.
//
// # What a log is
//
// A [Log] is a ctlogtest.Log. Its rate is that of the real log's family, as
// far as it is known, multiplied by [Options.Scale], the one factor between
// the world and this one; requests, their limits and their latencies are not
// scaled. A log's size follows from the clock: it grows when its head is asked
// for, and an entry is as old as its timestamp says.
//
// # Who is who
//
// A cast gives some logs a fate ([Role]) and some hosts a limit or a bad
// connection; see cast.go, which lists all of them. The acts of [World.Run]
// are spread over the time that it is given:
//
//	a sixth     one log is gone: no answer any more
//	a quarter   one log lies: it has rewritten its tree, under its own key
//	two fifths  those that will be read-only take nothing more
//	a half      the update of the list is published: with the read-only ones'
//	            final tree heads, with logs that have appeared, without those
//	            that it does not have, and with one log under another name at
//	            another address; its old address answers 404
//
// # What is counted
//
// Per host and log: requests, refusals, polls of the head; per log what was
// served how often, and the largest index. The oracle is the local log: its
// size, its root, its leaves.
package world
