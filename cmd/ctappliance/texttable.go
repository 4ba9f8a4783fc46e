package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// textTable is a table of ASCII texts with a line of headings.
type textTable struct {
	heads []string
	rows  [][]string // each as long as heads
}

// narrowing is what a column may give: all of it, or what is beyond least
// bytes.
type narrowing struct {
	head  string
	least int  // 0: the column goes
	ends  bool // cut in the middle: what tells its texts apart is at their ends
}

// columnGap is what is between two columns.
const columnGap = 2

// widths are those of the columns.
func (t *textTable) widths() []int {
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		widths[i] = len(h)
		for _, row := range t.rows {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	return widths
}

// fit makes the table no wider than width by what columns give, one after the
// other; it reports whether everything is still there.
func (t *textTable) fit(width int, order []narrowing) (whole bool) {
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
		at := slices.Index(t.heads, n.head)
		switch {
		case at < 0:
		case n.least == 0:
			t.heads = slices.Delete(t.heads, at, at+1)
			for r := range t.rows {
				t.rows[r] = slices.Delete(t.rows[r], at, at+1)
			}
		default:
			most := max(widths[at]-excess, n.least)
			for _, row := range t.rows {
				if n.ends {
					row[at] = cutMiddle(row[at], most)
				} else {
					row[at] = cut(row[at], most)
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

func (t *textTable) print(out io.Writer) error {
	widths := t.widths()
	var b strings.Builder
	for _, row := range append([][]string{t.heads}, t.rows...) {
		var line strings.Builder
		for i, text := range row {
			fmt.Fprintf(&line, "%-*s", widths[i]+columnGap, text)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
