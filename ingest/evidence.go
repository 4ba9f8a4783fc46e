package ingest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ctappliance/ingest/ctlog"
	"ctappliance/internal/durable"
)

// Evidence is kept below the data directory, in evidence/, and never removed:
//
//	<log ID, 16 hex digits>-<time>.json      what, the signed heads and the proofs' answers as they came
//	<log ID, 16 hex digits>-<time>.records   the WAL records whose entries are in question
//
// A records file is a sequence of u64 seq, u32 length, payload, big endian;
// payloads are laid out as the WAL has them (see record), tiles as received.

// Kinds of evidence: a closed set, for status and metrics.
const (
	KindSplitView = "split-view" // two signed heads that no one tree has
	KindMismatch  = "mismatch"   // the entries are not those of the signed tree
	KindNoProof   = "no-proof"   // what it answers for a proof is none, again and again
	KindTooLarge  = "too-large"  // an entry that cannot be kept
	KindRollback  = "rollback"   // a signed head was taken back for longer than a log may take to publish
	KindBadHead   = "bad-head"   // a head that the log's key has not signed
	KindBackdated = "backdated"  // a larger tree was signed with an earlier time
	KindRewritten = "rewritten"  // what it serves now is not what it served and signed before
	KindUnknown   = "unknown"    // halted, and the evidence is gone
)

// HaltKinds are the kinds for which a log is halted.
var HaltKinds = []string{KindSplitView, KindMismatch, KindNoProof, KindTooLarge, KindUnknown}

const (
	// maxAnswers bounds the bodies of the proofs' answers in one evidence.
	maxAnswers = 4 << 20
	// maxEvidenceRecords bounds the records kept in one evidence.
	maxEvidenceRecords = 64 << 20
	// maxEvidence bounds what is kept of one log. Beyond it no more records are
	// kept, and only halts leave a file.
	maxEvidence = 256 << 20
)

// VerifyError is a log whose entries or heads do not fit together. The log is
// halted and what it sent is kept.
type VerifyError struct {
	Log     string
	Kind    string
	Reason  string
	Heads   []*ctlog.Head   // the signed heads concerned, as they came
	Tree    *ctlog.Frontier // what was computed from the entries; may be nil
	Proven  *ctlog.Frontier // what the log proved; may be nil
	Answers []ctlog.Answer  // what the log answered for a proof, as it came
	Entries *suspects       // where the entries in question are kept; may be nil
}

func (e *VerifyError) Error() string { return e.Log + " does not verify: " + e.Reason }

// evidenceDoc is the file that is kept.
type evidenceDoc struct {
	Log     string         `json:"log"`
	LogID   string         `json:"log_id"`
	URL     string         `json:"url"`
	Key     []byte         `json:"key"`
	At      time.Time      `json:"at"`
	Kind    string         `json:"kind"`
	Halted  bool           `json:"halted"`
	Reason  string         `json:"reason"`
	Heads   []evidenceHead `json:"signed_heads"`
	Tree    []byte         `json:"recomputed_frontier,omitempty"`
	TreeAt  uint64         `json:"recomputed_size,omitempty"`
	Root    string         `json:"recomputed_root,omitempty"`
	Proven  []byte         `json:"proven_frontier,omitempty"`
	PRootAt string         `json:"proven_root,omitempty"`
	Entries *suspects      `json:"entries,omitempty"`
	Answers []ctlog.Answer `json:"answers,omitempty"`
}

type evidenceHead struct {
	Size      uint64 `json:"size"`
	Root      string `json:"root"`
	Timestamp uint64 `json:"timestamp"`
	Raw       []byte `json:"raw"`
}

// keepEvidence writes e to a file of its own under dir and returns its path.
func keepEvidence(dir string, log ctlog.Info, e *VerifyError, halted bool) (string, error) {
	doc := evidenceDoc{Log: log.Name, LogID: hex.EncodeToString(log.ID[:]), URL: log.URL, Key: log.Key, At: time.Now().UTC(),
		Kind: e.Kind, Halted: halted, Reason: e.Reason, Answers: e.Answers, Entries: e.Entries}
	for _, h := range e.Heads {
		doc.Heads = append(doc.Heads, evidenceHead{h.Size, hex.EncodeToString(h.Root[:]), h.Timestamp, h.Raw})
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
	path, err := evidencePath(dir, log.ID, ".json")
	if err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	if err := durable.WriteFile(durable.OS{}, path, body, 0o600); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	return path, nil
}

// evidencePath makes the directory and returns the path of a file that is not
// there yet. The name holds nothing that a log has chosen but its key's hash.
func evidencePath(dir string, log ctlog.Hash, suffix string) (string, error) {
	if err := durable.MkdirAll(durable.OS{}, dir, 0o700); err != nil {
		return "", err
	}
	for at := time.Now().UnixNano(); ; at++ {
		path := filepath.Join(dir, fmt.Sprintf("%s-%d%s", hex.EncodeToString(log[:8]), at, suffix))
		if _, err := os.Lstat(path); err != nil {
			return path, ignoreNotExist(err)
		}
	}
}

func ignoreNotExist(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// evidenceSize returns how many bytes are kept of a log.
func evidenceSize(dir string, log ctlog.Hash) (bytes int64) {
	for _, e := range evidenceFiles(dir, log) {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// evidenceFiles returns the files of a log, oldest first.
func evidenceFiles(dir string, log ctlog.Hash) []fs.DirEntry {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil // none is kept, or none can be read: then none can be shown
	}
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), hex.EncodeToString(log[:8])+"-") })
}

// LastHalt finds the newest evidence in a data directory for which the log was
// halted: its path, kind and reason. path is empty if there is none.
func LastHalt(dataDir string, log ctlog.Hash) (path, kind, reason string) {
	dir := evidenceDir(dataDir)
	for _, e := range slices.Backward(evidenceFiles(dir, log)) {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		var doc struct {
			LogID  string `json:"log_id"`
			Kind   string `json:"kind"`
			Halted bool   `json:"halted"`
			Reason string `json:"reason"`
		}
		if err != nil || json.Unmarshal(b, &doc) != nil || !doc.Halted || doc.LogID != hex.EncodeToString(log[:]) {
			continue
		}
		if !slices.Contains(HaltKinds, doc.Kind) {
			doc.Kind = KindUnknown
		}
		return filepath.Join(dir, e.Name()), doc.Kind, doc.Reason
	}
	return "", "", ""
}

func evidenceDir(dataDir string) string { return filepath.Join(dataDir, "evidence") }
