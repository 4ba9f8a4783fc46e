package store

import (
	"context"
	"fmt"

	"ctappliance/schema"
)

// Remove takes the rows of r, which may be of any length, out of the ledger and
// returns how many there were. When it returns without an error the ledger
// holds none. It is a mutation: parts that hold such rows are written anew and
// synced, the others are left alone. Asking again after an error is safe.
//
// The caller sees to it that no insert of such rows is under way (FenceAll).
// The rows come again under other tokens: ClickHouse remembers those of removed
// rows, and would swallow them.
func (s *Store) Remove(ctx context.Context, r schema.Range) (rows uint64, err error) {
	where := fmt.Sprintf("log_id = %d AND idx >= %d AND idx < %d", r.Log, r.From, r.To)
	count := func() (uint64, error) {
		answer, err := s.rows(ctx, 1, "SELECT count() FROM "+s.table("ledger")+" WHERE "+where)
		if err != nil {
			return 0, err
		}
		if len(answer) != 1 {
			return 0, fmt.Errorf("%d rows, not one", len(answer))
		}
		n, err := numbers(answer[0], 1)
		if err != nil {
			return 0, err
		}
		return n[0], nil
	}
	if rows, err = count(); err != nil || rows == 0 {
		if err != nil {
			err = fmt.Errorf("counting what is to be removed from the ledger: %w", err)
		}
		return 0, err
	}
	if err := s.Exec(ctx, "ALTER TABLE "+s.table("ledger")+" DELETE WHERE "+where+" SETTINGS mutations_sync = 2"); err != nil {
		return 0, fmt.Errorf("removing rows from the ledger: %w", err)
	}
	left, err := count()
	if err != nil {
		return 0, fmt.Errorf("counting what was removed from the ledger: %w", err)
	}
	if left > 0 {
		return 0, fmt.Errorf("removing rows from the ledger: %d of %d are still there", left, rows)
	}
	return rows, nil
}
