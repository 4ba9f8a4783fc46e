// Package config is everything that a user can set: [Config], whose struct tags
// declare each key once, and how a value is found, read, checked and printed.
//
//	keys     [Config], [Default]: keys, defaults, ranges, meanings
//	flags    [Flags], [Load]: the command line of a command
//	load     [Read]: flag, environment, systemd credential, file, default
//	yaml     the file, by our own rules: no anchors, no tags, lines in errors
//	check    [Config.Validate], [Config.ValidateLogs]: every mistake at once,
//	         each named as the user typed it ([Config.Label])
//	print    [Config.Print]: what is in force and where it came from, without
//	         secrets
//	reload   [FixedChanges]: what only a restart can change
//
// docs/config.md is written from the same tags and tested against them. A file
// is at most 1 MiB and must not be readable by everybody where it holds a
// secret. What a value repeats of the user's text is quoted before it is shown.
package config
