package ctlogtest

import (
	"encoding/json"
	"time"
)

const operator = "ctlogtest"

// listedLog is a log in a log list of schema v3.
type listedLog struct {
	Description   string `json:"description"`
	LogID         []byte `json:"log_id"`
	Key           []byte `json:"key"`
	URL           string `json:"url,omitempty"`
	SubmissionURL string `json:"submission_url,omitempty"`
	MonitoringURL string `json:"monitoring_url,omitempty"`
	MMD           int    `json:"mmd"`
	State         any    `json:"state"`
	Interval      any    `json:"temporal_interval"`
	LogType       string `json:"log_type"`
}

// LogList returns a log list (schema v3, as Google publishes) with these logs.
func LogList(logs ...Info) []byte {
	const form = time.RFC3339
	rfc, tiled := []listedLog{}, []listedLog{}
	newest := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format(form)
	for _, i := range logs {
		ll := listedLog{Description: i.Name, LogID: i.ID[:], Key: i.Key, MMD: int(i.MMD / time.Second), LogType: "test",
			State:    map[string]any{i.State: map[string]string{"timestamp": newest}},
			Interval: map[string]string{"start_inclusive": i.Start.Format(form), "end_exclusive": i.End.Format(form)}}
		if i.Kind == Static {
			ll.SubmissionURL, ll.MonitoringURL = i.SubmissionURL, i.URL
			tiled = append(tiled, ll)
		} else {
			ll.URL = i.URL
			rfc = append(rfc, ll)
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"version":            "1.1",
		"log_list_timestamp": time.Now().UTC().Format(form),
		"operators": []any{map[string]any{
			"name": operator, "email": []string{"ctlogtest@example.com"}, "logs": rfc, "tiled_logs": tiled}},
	}, "", "  ")
	if err != nil {
		panic("ctlogtest: " + err.Error()) // plain data
	}
	return append(b, '\n')
}
