//go:build !race

package shabatch

const raceEnabled = false
