package engine

import (
	"encoding/json"
	"fmt"
)

// What the engine cannot read at its start it moves to a table's directory
// detached/ and goes on without, up to a hundred parts of a table. A part whose
// directory is gone it does not miss at all. The rows are lost to every query
// either way: who must know counts them.

// maxBroken bounds the list of parts set aside, 200 bytes each, so that it
// fits into the ready line.
const maxBroken = 16

// setAside counts the parts that the engine has ever put away as broken and
// that nobody has removed since, and names the first few.
func (p *pool) setAside() (n int, names []string, err error) {
	r, err := p.keep.run(fmt.Sprintf(`SELECT toUInt32(count()), arraySlice(arraySort(groupArray(
		left(concat(ifNull(database, ''), '.', ifNull(table, ''), ' ', name), 200))), 1, %d)
		FROM system.detached_parts WHERE reason LIKE '%%broken%%' OR reason = 'unexpected'`, maxBroken), "JSONCompactEachRow", nil)
	defer r.free()
	if err != nil {
		return 0, nil, err
	}
	if err := json.Unmarshal(r.bytes(), &[]any{&n, &names}); err != nil {
		return 0, nil, fmt.Errorf("reading %.100q: %w", r.bytes(), err)
	}
	return n, names, nil
}
