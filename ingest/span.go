package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"ctappliance/checkpoint"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// Forever is the end of a tail: it has none.
const Forever = math.MaxUint64

// position is what the WAL remembers of a span: its stream's state. It carries
// the span's definition too, so that a lost checkpoint comes back from it.
//
//	 0  u8    version (1)
//	 1  u8    kind: 0 tail, 1 backfill, 2 repair
//	 2  [32]  log ID
//	34  u64   from, big endian
//	42  u64   to
//	50  ...   frontier (ctlog.Frontier.MarshalBinary); its size is the cursor
type position struct {
	log      ctlog.Hash
	kind     string
	from, to uint64
	frontier *ctlog.Frontier
}

const (
	positionVersion = 1
	positionHeader  = 50
)

var kinds = []string{checkpoint.KindTail, checkpoint.KindBackfill, checkpoint.KindRepair}

func (p *position) marshal() ([]byte, error) {
	kind := slices.Index(kinds, p.kind)
	if kind < 0 {
		return nil, fmt.Errorf("span kind %q is unknown", p.kind)
	}
	frontier, err := p.frontier.MarshalBinary()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, positionHeader+len(frontier))
	b = append(b, positionVersion, byte(kind))
	b = append(b, p.log[:]...)
	b = binary.BigEndian.AppendUint64(b, p.from)
	b = binary.BigEndian.AppendUint64(b, p.to)
	return append(b, frontier...), nil
}

func unmarshalPosition(b []byte) (*position, error) {
	if len(b) < positionHeader {
		return nil, errors.New("span position is too short")
	}
	if b[0] != positionVersion {
		return nil, fmt.Errorf("span position has version %d, this build knows %d", b[0], positionVersion)
	}
	if int(b[1]) >= len(kinds) {
		return nil, fmt.Errorf("span position has unknown kind %d", b[1])
	}
	p := &position{
		kind:     kinds[b[1]],
		log:      ctlog.Hash(b[2:34]),
		from:     binary.BigEndian.Uint64(b[34:]),
		to:       binary.BigEndian.Uint64(b[42:]),
		frontier: new(ctlog.Frontier),
	}
	if err := p.frontier.UnmarshalBinary(b[positionHeader:]); err != nil {
		return nil, fmt.Errorf("span position: %w", err)
	}
	if c := p.frontier.Size(); c < p.from || c > p.to {
		return nil, fmt.Errorf("span position: cursor %d outside [%d,%d)", c, p.from, p.to)
	}
	return p, nil
}

// subtract returns the parts of [from, to) that no range of taken covers, in
// order. taken need not be sorted.
func subtract(from, to uint64, taken []schema.Range) []schema.Range {
	taken = slices.Clone(taken)
	slices.SortFunc(taken, compareRanges)
	var free []schema.Range
	for _, t := range taken {
		if t.From >= to {
			break
		}
		if t.To <= from {
			continue
		}
		if t.From > from {
			free = append(free, schema.Range{From: from, To: t.From})
		}
		from = max(from, t.To)
	}
	if from < to {
		free = append(free, schema.Range{From: from, To: to})
	}
	return free
}

// merge sorts ranges by log and index and joins those that touch or overlap.
func merge(ranges []schema.Range) []schema.Range {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, compareRanges)
	var out []schema.Range
	for _, r := range ranges {
		if n := len(out); n > 0 && out[n-1].Log == r.Log && out[n-1].To >= r.From {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

func compareRanges(a, b schema.Range) int {
	switch {
	case a.Log != b.Log:
		if a.Log < b.Log {
			return -1
		}
		return 1
	case a.From != b.From:
		if a.From < b.From {
			return -1
		}
		return 1
	}
	return 0
}
