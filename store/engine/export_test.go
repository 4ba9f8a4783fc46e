package engine

import "time"

// SetHealth shortens the looks whether the child answers.
func (o *Options) SetHealth(interval time.Duration, failures int) {
	o.times = defaultTimes
	o.times.health, o.times.failures = interval, failures
}
