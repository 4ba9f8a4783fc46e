package ingest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
)

// VerifyError is a log whose entries or heads do not fit together. The log is
// halted and what it sent is kept.
type VerifyError struct {
	Log    string
	Reason string
	Heads  []*ctlog.Head   // the signed heads concerned, as they came
	Tree   *ctlog.Frontier // what was computed from the entries; may be nil
	Proven *ctlog.Frontier // what the log proved; may be nil
}

func (e *VerifyError) Error() string { return e.Log + " does not verify: " + e.Reason }

// keepEvidence writes e to a file of its own under dir and returns its path.
func keepEvidence(dir string, log ctlog.Info, e *VerifyError) (string, error) {
	type head struct {
		Size      uint64 `json:"size"`
		Root      string `json:"root"`
		Timestamp uint64 `json:"timestamp"`
		Raw       []byte `json:"raw"`
	}
	doc := struct {
		Log     string    `json:"log"`
		LogID   string    `json:"log_id"`
		URL     string    `json:"url"`
		Key     []byte    `json:"key"`
		At      time.Time `json:"at"`
		Reason  string    `json:"reason"`
		Heads   []head    `json:"signed_heads"`
		Tree    []byte    `json:"recomputed_frontier,omitempty"`
		TreeAt  uint64    `json:"recomputed_size,omitempty"`
		Root    string    `json:"recomputed_root,omitempty"`
		Proven  []byte    `json:"proven_frontier,omitempty"`
		PRootAt string    `json:"proven_root,omitempty"`
	}{Log: log.Name, LogID: hex.EncodeToString(log.ID[:]), URL: log.URL, Key: log.Key, At: time.Now().UTC(), Reason: e.Reason}
	for _, h := range e.Heads {
		doc.Heads = append(doc.Heads, head{h.Size, hex.EncodeToString(h.Root[:]), h.Timestamp, h.Raw})
	}
	if e.Tree != nil {
		root := e.Tree.Root()
		doc.TreeAt, doc.Root = e.Tree.Size(), hex.EncodeToString(root[:])
		doc.Tree, _ = e.Tree.MarshalBinary()
	}
	if e.Proven != nil {
		root := e.Proven.Root()
		doc.PRootAt = hex.EncodeToString(root[:])
		doc.Proven, _ = e.Proven.MarshalBinary()
	}
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.json", hex.EncodeToString(log.ID[:8]), time.Now().UnixNano()))
	if err := durable.WriteFile(durable.OS{}, path, body, 0o600); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	return path, nil
}
