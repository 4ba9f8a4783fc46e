// Command ctappliance copies Certificate Transparency logs into ClickHouse and
// never loses its place.
//
//	run       follow logs for ever: those of the log lists, or some that are named
//	backfill  copy a range of one log, then stop
//	status    say how the appliance is doing: a screen, --watch, --json, --check
//	logs      say which logs are followed, and why
//	reload    have a running appliance read its configuration again
//	profile   where the time and memory of a running appliance go
//	check     check the configuration and reach everything, change nothing
//	verify    audit WAL, checkpoint and ledger against each other and the logs
//	wal       ls, dump, verify: look into the write-ahead log
//	schema    print, apply: the tables
//	engine    query the embedded ClickHouse, or serve it for curl and Grafana
//	demo      a log on this machine, a crash, and every entry exactly once
//
// This package has the commands, and wires. Below it:
//
//	config  everything that a user can set
//	report  what an appliance says of itself: screen, check, JSON, log line
//	plain   text, figures and tables for people
//	usage   commands used wrongly
//
// # What a caller can rely on
//
// Results go to standard output, everything else to standard error. An error
// is one line that begins with "ctappliance: " and says how to mend it; only a
// configuration may be wrong in several places at once, a line each.
//
//	exit status  meaning
//	0            done
//	1            it failed, or was interrupted
//	2            used wrongly: a flag, a key of the configuration, a range
//
// status --check is the exception, for monitoring: 0 ok, 1 warning, 2
// critical, and one line on standard output.
//
// Flags, environment (CTAPPLIANCE_…) and config file know the same names; see
// package config. The text of errors that came from a log or a server is cleaned
// of what a terminal would act on.
//
// Nobody has to read what is written to standard error: it is queued, up to 1
// MiB, and when that is full the oldest is dropped and a line says how much. A
// command that works for long (run, backfill, verify --repair, engine) goes on
// when its standard error or output is a pipe that nobody reads or whose reader
// is gone; a short one ends quietly, by SIGPIPE, when its output is cut.
//
// # Processes
//
// One process works on a data directory: run or backfill. It holds the
// directory's lock and serves the control socket ctl.sock in it, through which
// the other commands ask it: status, the address of the embedded engine, a
// range to backfill, a reload of the configuration (as SIGHUP does). Where none
// runs, the others read the files, and start the engine for the time they need
// it. SIGINT and SIGTERM end every command cleanly within two seconds; a second
// one kills. SIGKILL is safe too: stopping cleanly runs the same code at the
// next start.
//
// Under systemd (Type=notify) run says when it is ready, reloading and
// stopping, and is heard by the watchdog while its control socket gives its
// status. Every ten minutes it writes a line to the log that says how it is
// doing.
//
// The embedded engine is a child process: this program again, as
// "ctappliance engine-child". It ends with its parent.
//
// # Logs
//
// run follows the logs of log lists (package catalog says which), and those
// that the configuration names. Every change of the set goes one way: a new
// list, a configuration that was read again, a log that turned out to serve
// tiles; choose, make clients where something is new, Appliance.SetLogs. A
// change that fails, or would leave nothing to follow, changes nothing.
//
// A host has one pacer over the whole life of the process, whatever is
// reloaded, and every log of it a share of that pacer. What was learnt and may
// be lost lies in the data directory:
//
//	lists/         the last good log lists
//	followed.json  logs of the lists that are followed, for the day when no list names them
//	pace.json      what pacers have found out about hosts; believed for 30 days
//	tiles.json     which RFC 6962 logs serve tiles; believed for a week
package main
