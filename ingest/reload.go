package ingest

import (
	"context"
	"errors"
)

// SetLogs replaces the set of followed logs while Run runs. A log that stays
// keeps its place and its spans, also where its name, URL or client are new;
// one that is left out stops, and keeps its place for the day when it comes
// back; a new one begins as its Follow says. It returns when the new set is in
// force, and an error, with nothing changed, where the set makes no sense.
func (a *Appliance) SetLogs(ctx context.Context, logs []Follow) error {
	return errors.ErrUnsupported
}
