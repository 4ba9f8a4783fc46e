package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"ctappliance/schema"
)

// insertsAtOnce is how many tables of a flush are written at once: each needs a
// buffer of its own on the server.
const insertsAtOnce = 4

// insertSettings go with every insert. The server must take the one block that
// we send as one block.
func insertSettings() clickhouse.Settings {
	const aboveAnyFlush = 1 << 40
	return clickhouse.Settings{
		"async_insert":                    0,
		"max_insert_threads":              1,
		"optimize_on_insert":              0,
		"max_insert_block_size":           aboveAnyFlush,
		"min_insert_block_size_rows":      aboveAnyFlush,
		"min_insert_block_size_bytes":     aboveAnyFlush,
		"max_partitions_per_insert_block": 0,
	}
}

// InsertDependents writes the flush's rows to every table but the ledger: one
// insert per table. Doing it again changes nothing. The error is
// schema.ErrStale where the flush has to come with its rows.
func (s *Store) InsertDependents(ctx context.Context, f *schema.Flush) error {
	if s.cfg.ReadOnly {
		return ErrReadOnly
	}
	d, done, err := s.fill(ctx, f)
	if err != nil {
		return err
	}
	// Side by side: most of an insert's time goes by waiting for the disk, and
	// what ends together is synced together. The ledger comes when all are there.
	var g errgroup.Group
	g.SetLimit(insertsAtOnce)
	for _, b := range d.Blocks() {
		settings := insertSettings()
		if b.Table == "names" {
			settings["exclude_materialize_skip_indexes_on_insert"] = "words"
		}
		g.Go(func() error { return s.insert(ctx, f, b, settings) })
	}
	err = g.Wait()
	if err != nil {
		s.forget() // the filter holds keys of rows that are in doubt now
	}
	done(err == nil)
	return err
}

// checkLife empties the recently-seen filter where what it remembers is not
// certain to be there: the server was started anew, or the flush is a repair.
func (s *Store) checkLife(ctx context.Context, f *schema.Flush) error {
	if s.recent == nil {
		return nil
	}
	epoch, err := s.Epoch(ctx)
	if err != nil {
		return err
	}
	s.filter.Lock()
	defer s.filter.Unlock()
	if s.recentLife == "" {
		s.recentLife = epoch // nothing was acknowledged before
	}
	if epoch != s.recentLife || f.Generation > 0 {
		s.forgetLocked()
		s.recentLife = epoch
	}
	return nil
}

// InsertLedger writes the flush's ledger rows, only those of the entries for
// which keep is true (nil: all), as one insert.
func (s *Store) InsertLedger(ctx context.Context, f *schema.Flush, keep func(log, index uint64) bool) error {
	if s.cfg.ReadOnly {
		return ErrReadOnly
	}
	p, ok := f.Prepared.(*prepared)
	ok = ok && p.cols != nil
	if !ok && f.Rows == nil && len(f.Ranges) > 0 {
		return schema.ErrStale
	}
	var l *schema.Ledger
	if ok && keep == nil {
		l = p.cols.ledger
	} else {
		l = s.ledgers.Get().(*schema.Ledger)
		defer s.ledgers.Put(l)
		l.Reset()
		if ok {
			l.AppendOf(p.cols.ledger, keep)
		} else {
			for _, r := range f.Rows {
				if keep == nil || keep(r.LogID, r.Index) {
					l.Append(r)
				}
			}
		}
	}
	if l.Block().Rows() == 0 {
		return nil
	}
	settings := insertSettings()
	if s.cfg.NoTokens {
		settings["insert_deduplicate"] = 0
		settings["deduplicate_insert"] = "disable"
	} else {
		settings["insert_deduplication_token"] = fmt.Sprintf("%d:g%d", f.ID, f.Generation)
	}
	return s.insert(ctx, f, l.Block(), settings)
}

// PutLogs writes rows of table logs.
func (s *Store) PutLogs(ctx context.Context, logs []schema.Log) error {
	if s.cfg.ReadOnly {
		return ErrReadOnly
	}
	if len(logs) == 0 {
		return nil
	}
	s.logsMu.Lock()
	defer s.logsMu.Unlock()
	// Later rows must win whatever the clock does.
	s.logVersion = max(s.logVersion+1, uint64(time.Now().UnixMilli()))
	s.logs.Reset()
	for i := range logs {
		s.logs.Append(&logs[i], s.logVersion)
	}
	return s.insert(ctx, nil, s.logs.Block(), insertSettings())
}

// insert sends one block as one insert, once. f is nil for rows that belong to
// no flush.
func (s *Store) insert(ctx context.Context, f *schema.Flush, b *schema.Block, settings clickhouse.Settings) (err error) {
	r, err := newBody(b)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", b.Table, err)
	}
	defer func() { r.close() }()
	if s.cfg.Compress {
		data, err := compressBody(r)
		if err != nil {
			return fmt.Errorf("compressing %s: %w", b.Table, err)
		}
		r = &body{parts: [][]byte{data}}
		settings["decompress"] = 1
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	id := s.queryID()
	if f != nil {
		id = fmt.Sprintf("ct-%d-g%d-t%d-%s-%s-%s", f.ID, f.Generation, s.tries.Add(1), b.Table, s.life, s.writer)
		s.attempts.begin(f.ID, id)
		defer func() {
			if err == nil || answered(err) {
				s.attempts.over(f.ID, id)
			}
		}()
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithQueryID(id), clickhouse.WithSettings(settings))
	err = s.conn.InsertFormat(ctx, "Native", "INSERT INTO "+s.table(b.Table)+" ("+columnList(b)+")", r)
	if err != nil {
		return s.insertError(b.Table, err)
	}
	return nil
}

// answered reports whether an error came as the server's answer: the statement
// is then over.
func answered(err error) bool {
	var ex *clickhouse.Exception
	return errors.As(err, &ex)
}
