package ingest

import (
	"context"

	"ctappliance/schema"
)

// Sink is where rows go; package store implements it. Errors of
// InsertDependents and InsertLedger say nothing about whether the rows are
// there: the flush is then in doubt until Fence has returned and Prove has
// counted it.
type Sink interface {
	// Prepare begins a flush that is still to be cut: rows are added as they come,
	// while earlier flushes are on their way.
	Prepare() schema.Prepared

	// PrepareAgain begins anew a flush that comes out of turn: one in doubt, or
	// whose columns are out of date. Nothing that is added is left out because it
	// was written before, so that it stays good for every attempt.
	PrepareAgain() schema.Prepared

	// InsertDependents writes the flush's rows to every table but the ledger:
	// one insert per table. Doing it again changes nothing. It wants what Prepare
	// gave, or the rows; it is schema.ErrStale if it wants what PrepareAgain gives,
	// or the rows.
	InsertDependents(ctx context.Context, f *schema.Flush) error

	// InsertLedger writes the flush's ledger rows, only those of the entries for
	// which keep is true (nil: all), as one insert.
	InsertLedger(ctx context.Context, f *schema.Flush, keep func(log, index uint64) bool) error

	// Fence returns when no insert of the flush can still take effect.
	Fence(ctx context.Context, flushID uint64) error

	// Prove counts each range in the ledger; the answer has the same order.
	Prove(ctx context.Context, ranges []schema.Range) ([]schema.Proof, error)

	// FenceAll returns when no insert of any flush of a former life can still
	// take effect.
	FenceAll(ctx context.Context) error

	// Epoch names the store's present life. What was acknowledged within one
	// epoch is there for as long as that epoch lasts, and, being synced, after
	// it; whether it really is, is seen to again when the epoch has changed.
	Epoch(ctx context.Context) (string, error)

	// Highest returns the highest index of r, however long r is, that the ledger
	// holds; ok is false where it holds none.
	Highest(ctx context.Context, r schema.Range) (index uint64, ok bool, err error)

	// Indices returns the indices in r that the ledger holds, ascending,
	// without repeats.
	Indices(ctx context.Context, r schema.Range) ([]uint64, error)

	// Orphans returns the indices in r, at most 64 Ki entries, of ledger rows
	// whose certificate is in no other table: ascending, the first thousand.
	Orphans(ctx context.Context, r schema.Range) ([]uint64, error)

	// Remove takes the rows of r, however long r is, out of the ledger and returns
	// how many there were. When it returns without an error there is none left,
	// and none comes back.
	Remove(ctx context.Context, r schema.Range) (rows uint64, err error)

	// PutLogs writes rows of table logs.
	PutLogs(ctx context.Context, logs []schema.Log) error
}
