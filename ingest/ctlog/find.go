package ctlog

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Find returns the log that what names: its ID (hex, or base64 as in log
// lists), its URL with or without scheme and trailing slash, its name, or a
// part of the name that no other log's has ("argon2026h1"). The error lists
// what comes near.
func Find(logs []Info, what string) (Info, error) {
	what = strings.TrimSpace(what)
	if what == "" {
		return Info{}, fmt.Errorf("no log was named")
	}
	if id, ok := parseID(what); ok {
		for _, l := range logs {
			if l.ID == id {
				return l, nil
			}
		}
		return Info{}, fmt.Errorf("no log in the list has the ID %x", id)
	}
	if place := trimPlace(what); strings.ContainsAny(place, "./") {
		for _, l := range logs {
			if place == trimPlace(l.URL) || (l.SubmissionURL != "" && place == trimPlace(l.SubmissionURL)) {
				return l, nil
			}
		}
	}
	key := nameKey(what)
	var parts []Info
	for _, l := range logs {
		switch name := nameKey(l.Name); {
		case strings.EqualFold(l.Name, what), name == key && key != "":
			return l, nil
		case key != "" && strings.Contains(name, key):
			parts = append(parts, l)
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	if len(parts) > 1 {
		return Info{}, fmt.Errorf("%s names %d logs: %s", quote(what), len(parts), nameSome(parts))
	}
	return Info{}, fmt.Errorf("no log in the list is called %s%s", quote(what), nearest(logs, key))
}

// parseID reads 32 bytes as hex or base64.
func parseID(s string) (id Hash, ok bool) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(id) {
		return Hash(b), true
	}
	if b, err := base64.StdEncoding.DecodeString(s); err == nil && len(b) == len(id) {
		return Hash(b), true
	}
	return id, false
}

// trimPlace is a URL without scheme and trailing slashes, host in lower case.
func trimPlace(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	host, path, ok := strings.Cut(strings.TrimRight(s, "/"), "/")
	if !ok {
		return strings.ToLower(host)
	}
	return strings.ToLower(host) + "/" + path
}

// nameKey is a name without what people leave out: case, quotes, spaces.
func nameKey(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}

func nameSome(logs []Info) string {
	const most = 5
	var names []string
	for _, l := range logs[:min(len(logs), most)] {
		names = append(names, quote(l.Name))
	}
	if len(logs) > most {
		names = append(names, fmt.Sprintf("and %d more", len(logs)-most))
	}
	return strings.Join(names, ", ")
}

// nearest suggests up to three names that differ least from key.
func nearest(logs []Info, key string) string {
	type near struct {
		log      Info
		distance int
	}
	key = key[:min(len(key), 100)]
	var found []near
	for _, l := range logs {
		name := nameKey(l.Name)
		name = name[:min(len(name), 100)]
		// A user types a part of the name: what is missing around it is free.
		if d := partDistance(key, name); d <= max(2, len(key)/3) {
			found = append(found, near{l, d})
		}
	}
	if len(found) == 0 {
		return fmt.Sprintf(" (it has %d logs)", len(logs))
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.distance - b.distance })
	var best []Info
	for _, n := range found[:min(len(found), 3)] {
		best = append(best, n.log)
	}
	return "; near: " + nameSome(best)
}

// partDistance is the least number of edits that turn a into a part of b.
func partDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return slices.Min(row)
}
