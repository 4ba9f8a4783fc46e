package ingest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
	"ctappliance/wal"
)

// suspects says which entries of a span do not fit, and where their bytes are
// kept. Somewhere in [From, To) they leave the signed tree.
type suspects struct {
	From uint64 `json:"from"` // proven up to here
	To   uint64 `json:"to"`   // and not at this size

	// Where the entries leave the tree: one record, by proofs for the sizes
	// between; more where the WAL no longer had it. Both are zero if the log did
	// not prove them.
	WrongFrom uint64 `json:"wrong_from,omitempty"`
	WrongTo   uint64 `json:"wrong_to,omitempty"`

	File    string `json:"file,omitempty"` // name beside the evidence
	Records int    `json:"records"`        // in it
	Absent  int    `json:"absent"`         // too many to keep; the ledger has their rows, roots/ their subtree roots
	// KeptFrom is the first entry of which the WAL still had the record; what
	// lies between From and it was in the ledger and trimmed.
	KeptFrom uint64 `json:"kept_from"`
}

// suspect is one record in question.
type suspect struct {
	seq      uint64
	from, to uint64
	state    []byte
	kept     bool
}

// locateTime bounds the search for the record that is wrong. The log that is
// asked for it has just been caught.
const locateTime = 2 * time.Minute

// suspects keeps the WAL's records of the span from the last proven entry on,
// and finds the first one that is not of the tree that head signs: a binary
// search by proofs, unless head is nil. What cannot be had is left out.
func (c *conductor) suspects(ctx context.Context, head *ctlog.Head) (*suspects, []ctlog.Answer) {
	dir := c.f.a.evidenceDir()
	out := &suspects{From: c.s.verified.Load(), To: c.s.cursor.Load()}
	found, err := c.keepRecords(dir, out)
	if err != nil {
		c.out.Error("entries in question are not kept", "err", err)
	}
	if len(found) == 0 {
		return out, nil
	}
	out.KeptFrom = found[0].from
	if head == nil {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, locateTime)
	defer cancel()
	ctx, recording := ctlog.Record(ctx, maxAnswers/2)
	if i, ok := c.locate(ctx, head, found); ok {
		out.WrongFrom, out.WrongTo = found[i].from, found[i].to
		if i == 0 {
			out.WrongFrom = min(out.WrongFrom, out.From) // or in what was trimmed before it
		}
		if !found[i].kept && out.File != "" {
			if err := c.keepOne(filepath.Join(dir, out.File), found[i].seq); err != nil {
				c.out.Error("the wrong entries are not kept", "err", err)
			} else {
				out.Records, out.Absent = out.Records+1, out.Absent-1
			}
		}
	}
	return out, recording.Answers()
}

// keepRecords copies the records, oldest first, as far as the bound allows.
func (c *conductor) keepRecords(dir string, out *suspects) (found []suspect, err error) {
	room := int64(maxEvidenceRecords)
	if evidenceSize(dir, c.s.log)+room > maxEvidence {
		room = 0
	}
	path, err := evidencePath(dir, c.s.log, ".records")
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(file)
	r := c.f.a.wal.Reader(max(c.provenSeq, c.f.a.wal.First()))
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var damaged *wal.CorruptError
		if errors.Is(err, wal.ErrNotFound) || errors.As(err, &damaged) {
			continue // the reader goes on behind it
		}
		if err != nil {
			return found, errors.Join(err, file.Close())
		}
		_, from, to, err := RecordRange(rec.Payload)
		if rec.Stream != c.s.id || err != nil || to <= out.From {
			continue
		}
		s := suspect{seq: rec.Seq, from: from, to: to, state: rec.State}
		if size := int64(len(rec.Payload)) + 12; size <= room {
			room -= size
			s.kept = true
			out.Records++
			writeRecord(w, rec) // the error comes with Flush
		} else {
			room = 0 // what is kept has no holes
			out.Absent++
		}
		found = append(found, s)
	}
	if err := errors.Join(w.Flush(), file.Sync(), file.Close(), durable.OS{}.SyncDir(dir)); err != nil {
		return found, err
	}
	out.File = filepath.Base(path)
	return found, nil
}

func writeRecord(w io.Writer, rec wal.Record) error {
	head := binary.BigEndian.AppendUint64(nil, rec.Seq)
	head = binary.BigEndian.AppendUint32(head, uint32(len(rec.Payload)))
	_, err := w.Write(head)
	if err == nil {
		_, err = w.Write(rec.Payload)
	}
	return err
}

// keepOne appends one record to a file of records.
func (c *conductor) keepOne(path string, seq uint64) error {
	rec, err := c.f.a.wal.Read(seq)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(writeRecord(file, rec), file.Sync(), file.Close())
}

// locate returns the first of the records after which our frontier is not the
// one that the log proves: it, or what was trimmed before the first one, is
// wrong. After the last one the frontier is known not to be.
func (c *conductor) locate(ctx context.Context, head *ctlog.Head, found []suspect) (int, bool) {
	good, bad := -1, len(found)-1
	if found[bad].to != c.s.cursor.Load() {
		return 0, false
	}
	same := func(i int) (bool, bool) {
		same, err := c.provenAt(ctx, head, found[i].state)
		if err != nil {
			c.out.Warn("the wrong entries are not located", "err", err)
		}
		return same, err == nil
	}
	for bad-good > 1 {
		mid := good + (bad-good)/2
		fits, ok := same(mid)
		switch {
		case !ok:
			return 0, false
		case fits:
			good = mid
		default:
			bad = mid
		}
	}
	return bad, true
}

// provenAt says whether the log proves the frontier of a record's state.
func (c *conductor) provenAt(ctx context.Context, head *ctlog.Head, state []byte) (bool, error) {
	p, err := unmarshalPosition(state)
	if err != nil {
		return false, err
	}
	for try := 1; ; try++ {
		proven, err := c.f.log.Frontier(ctx, p.frontier.Size(), head)
		if err == nil {
			return p.frontier.Equal(proven), nil
		}
		if try == 3 || !sleep(ctx, max(backoff(try), retryAfter(err))) {
			return false, fmt.Errorf("proof for size %d: %w", p.frontier.Size(), err)
		}
	}
}
