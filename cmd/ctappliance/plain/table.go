package plain

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Table is a table of ASCII texts with a line of headings.
type Table struct {
	Heads []string
	Rows  [][]string // each as long as heads
}

// Narrowing is what a column may give: all of it, or what is beyond least
// bytes.
type Narrowing struct {
	Head  string
	Least int  // 0: the column goes
	Ends  bool // cut in the middle: what tells its texts apart is at their ends
}

// columnGap is what is between two columns.
const columnGap = 2

// widths are those of the columns.
func (t *Table) widths() []int {
	widths := make([]int, len(t.Heads))
	for i, h := range t.Heads {
		widths[i] = len(h)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	return widths
}

// Fit makes the table no wider than width by what columns give, one after the
// other; it reports whether everything is still there.
func (t *Table) Fit(width int, order []Narrowing) (whole bool) {
	for i := range order {
		excess := -width - columnGap
		widths := t.widths()
		for _, w := range widths {
			excess += w + columnGap
		}
		if excess <= 0 {
			return i == 0
		}
		n := order[i]
		at := slices.Index(t.Heads, n.Head)
		switch {
		case at < 0:
		case n.Least == 0:
			t.Heads = slices.Delete(t.Heads, at, at+1)
			for r := range t.Rows {
				t.Rows[r] = slices.Delete(t.Rows[r], at, at+1)
			}
		default:
			most := max(widths[at]-excess, n.Least)
			for _, row := range t.Rows {
				if n.Ends {
					row[at] = cutMiddle(row[at], most)
				} else {
					row[at] = Cut(row[at], most)
				}
			}
		}
	}
	return len(order) == 0
}

// cutMiddle shortens ASCII text to width bytes, a third of them from its
// beginning.
func cutMiddle(s string, width int) string {
	if len(s) <= width {
		return s
	}
	head := max(0, width-2) / 3
	return s[:head] + ".." + s[len(s)-max(0, width-2-head):]
}

func (t *Table) Print(out io.Writer) error {
	widths := t.widths()
	var b strings.Builder
	for _, row := range append([][]string{t.Heads}, t.Rows...) {
		var line strings.Builder
		for i, text := range row {
			fmt.Fprintf(&line, "%-*s", widths[i]+columnGap, text)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
