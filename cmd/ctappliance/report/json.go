package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"

	"ctappliance/cmd/ctappliance/plain"
	"ctappliance/cmd/ctappliance/usage"
	"ctappliance/ingest"
)

// OnlyLogs leaves of a status the logs that somebody asked for.
func OnlyLogs(st *Status, names []string) error {
	if len(names) == 0 {
		return nil
	}
	used := make([]bool, len(names))
	st.Logs = slices.DeleteFunc(st.Logs, func(l ingest.LogStatus) bool {
		keep := false
		for i, n := range names {
			if n != "" && (strings.Contains(strings.ToLower(l.Name), strings.ToLower(n)) || strings.EqualFold(l.ID, n)) {
				keep, used[i] = true, true
			}
		}
		return !keep
	})
	if i := slices.Index(used, false); i >= 0 {
		return usage.Errorf("--log: no log that is followed is called %s; 'ctappliance status' lists them", plain.Quote(names[i]))
	}
	return nil
}

// PrintJSON prints v for programs, in ASCII: what strangers chose is escaped,
// should it end on a terminal.
func PrintJSON(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	ascii := make([]byte, 0, len(b)+1)
	for _, r := range string(b) {
		switch {
		case r < 0x7f:
			ascii = append(ascii, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			ascii = fmt.Appendf(ascii, `\u%04x\u%04x`, high, low)
		default:
			ascii = fmt.Appendf(ascii, `\u%04x`, r)
		}
	}
	_, err = out.Write(append(ascii, '\n'))
	return err
}
