//go:build race

package sha256batch

const raceEnabled = true
