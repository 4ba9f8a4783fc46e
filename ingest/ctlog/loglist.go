package ctlog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	stdcrypto "crypto"
)

// Bounds of what a log list says. Chrome's has 40 kB and 56 logs.
const (
	maxList     = 16 << 20
	maxListName = 200 // bytes of a description, an operator's name, a state
	maxListURL  = 500
)

// List is a log list: Chrome's schema version 3 and what Apple publishes in
// its likeness (numbered 4). Logs holds all of them, also retired and pending
// ones and those with a Problem: State and Problem say which to follow, see
// [Info.Follow]. What the schema has beyond that (contacts, DNS names, former
// operators) is ignored.
type List struct {
	Version   string    // "85.92"; empty if the list has none
	Serial    uint64    // Apple's assetVersionV2, or its assetVersion; 0 if the list has neither
	Timestamp time.Time // UTC; zero if the list has none
	Logs      []Info
}

// Follow reports whether a log is one to copy entries from: it exists, has an
// identity, and still answers.
func (i *Info) Follow() bool {
	if i.Problem != "" {
		return false
	}
	return i.State == "" || i.State == "qualified" || i.State == "usable" || i.State == "readonly"
}

// jsonList and the types below are the schema, as far as we need it.
type jsonList struct {
	Version   json.RawMessage `json:"version"`
	Asset     json.RawMessage `json:"assetVersion"`
	AssetV2   json.RawMessage `json:"assetVersionV2"`
	Timestamp time.Time       `json:"log_list_timestamp"`
	Operators []jsonOperator  `json:"operators"`

	Key json.RawMessage `json:"key"` // a log's own log.v3.json is one log and no list
}

// jsonOperator leaves its logs undecoded: one that is not as the schema has it
// must not spoil the others.
type jsonOperator struct {
	Name  string            `json:"name"`
	Logs  []json.RawMessage `json:"logs"`
	Tiled []json.RawMessage `json:"tiled_logs"`
}

type jsonLog struct {
	Description   string                     `json:"description"`
	LogID         []byte                     `json:"log_id"`
	Key           []byte                     `json:"key"`
	URL           string                     `json:"url"`
	SubmissionURL string                     `json:"submission_url"`
	MonitoringURL string                     `json:"monitoring_url"`
	MMD           int64                      `json:"mmd"` // seconds
	LogType       string                     `json:"log_type"`
	State         map[string]json.RawMessage `json:"state"`
	Interval      struct {
		Start time.Time `json:"start_inclusive"`
		End   time.Time `json:"end_exclusive"`
	} `json:"temporal_interval"`
}

// jsonState is what stands beside a state's name. Pointers tell what is
// missing from what is zero.
type jsonState struct {
	Timestamp time.Time `json:"timestamp"`
	Final     *struct {
		Root []byte `json:"sha256_root_hash"`
		Size uint64 `json:"tree_size"`
	} `json:"final_tree_head"`
}

// ParseList reads a log list, or the metadata of one log (log.v3.json). A log
// that contradicts itself does not spoil the list: it gets a Problem.
func ParseList(data []byte) (*List, error) {
	if len(data) > maxList {
		return nil, fmt.Errorf("log list has more than %d bytes", maxList)
	}
	var v jsonList
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("log list is not JSON of the log list schema: %s", quote(err.Error()))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("log list has bytes after its end, at offset %d", d.InputOffset())
	}
	list := &List{Version: version(v.Version), Serial: serial(v.AssetV2), Timestamp: v.Timestamp.UTC()}
	if list.Serial == 0 {
		list.Serial = serial(v.Asset)
	}
	if len(v.Operators) == 0 && v.Key != nil {
		v.Operators = []jsonOperator{{Logs: []json.RawMessage{data}}}
	}
	if len(v.Operators) == 0 {
		return nil, errors.New("log list names no operators")
	}
	seen := map[Hash]bool{}
	for _, op := range v.Operators {
		for _, logs := range [][]json.RawMessage{op.Logs, op.Tiled} {
			for _, raw := range logs {
				info := parseListed(raw, op.Name)
				if info.Problem == "" && seen[info.ID] {
					info.Problem = "a log with the same key stands further up in the list"
				}
				// One that cannot be followed does not stand in the way of one that can.
				seen[info.ID] = seen[info.ID] || info.Problem == ""
				list.Logs = append(list.Logs, info)
			}
		}
	}
	return list, nil
}

// version reads what lists have as a string or as a number. Anything else is
// nothing to go by, and no reason to do without the list.
func version(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		var n json.Number
		if json.Unmarshal(raw, &n) != nil {
			return ""
		}
		s = n.String()
	}
	return text(s, maxListName)
}

// text makes a list's words fit for a line of output: at most so many bytes,
// with a "?" for what does not print.
func text(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// serial reads a number that counts generations of a list. What is none is
// nothing to go by either.
func serial(raw []byte) uint64 {
	n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// parseListed reads one log of a list and notes what is wrong with it.
func parseListed(raw []byte, operator string) Info {
	var l jsonLog
	err := json.Unmarshal(raw, &l)
	info := l.info()
	info.Operator = operator
	if err != nil {
		info.Problem = "it is not of the log list schema: " + quote(err.Error())
	}
	for _, s := range []struct {
		what string
		text *string
		most int
	}{
		{"description", &info.Name, maxListName},
		{"operator's name", &info.Operator, maxListName},
		{"state", &info.State, maxListName},
		{"URL", &info.URL, maxListURL},
		{"submission URL", &info.SubmissionURL, maxListURL},
	} {
		if len(*s.text) > s.most {
			info.Problem = fmt.Sprintf("its %s has more than %d bytes", s.what, s.most)
		}
		*s.text = text(*s.text, s.most)
	}
	return info
}

// info converts one log and notes what contradicts itself.
func (l *jsonLog) info() Info {
	info := Info{
		ID: sha256.Sum256(l.Key), Key: l.Key, Name: l.Description,
		Kind: RFC6962, URL: l.URL, Test: l.LogType == "test",
		Start: l.Interval.Start.UTC(), End: l.Interval.End.UTC(),
	}
	if l.MonitoringURL != "" {
		info.Kind, info.URL, info.SubmissionURL = Static, l.MonitoringURL, l.SubmissionURL
	}
	if l.MMD > 0 && l.MMD < 1<<31 {
		info.MMD = time.Duration(l.MMD) * time.Second
	}
	for name, raw := range l.State {
		info.setState(name, raw)
	}
	_, keyErr := parsePublicKey(l.Key)
	clean, urlErr := cleanURL(info.URL, true)
	if urlErr == nil {
		info.URL = clean // with its slash, which lists sometimes have and sometimes not
	}
	var originErr error
	if info.Kind == Static {
		_, originErr = checkpointOrigin(l.SubmissionURL)
	}
	switch {
	case keyErr != nil:
		info.Problem = keyErr.Error()
		if len(l.LogID) == len(info.ID) {
			info.ID = Hash(l.LogID) // better than the hash of what is no key
		}
	case len(l.LogID) != 0 && !bytes.Equal(l.LogID, info.ID[:]):
		info.Problem = "its log_id is not the SHA-256 of its key"
	case len(l.State) > 1:
		info.State, info.StateSince, info.FinalSize, info.FinalRoot = "", time.Time{}, 0, Hash{}
		info.Problem = "it has more than one state"
	case urlErr != nil:
		info.Problem = urlErr.Error()
	case isPlaceholder(info.URL):
		info.Problem = "its URL is a placeholder"
	case originErr != nil:
		info.Problem = originErr.Error()
	}
	return info
}

// setState notes a state and what stands beside it. A timestamp or final tree
// head that cannot be read is one that was not said: the state alone decides
// whether a log is followed.
func (i *Info) setState(name string, raw []byte) {
	i.State, i.StateSince, i.FinalSize, i.FinalRoot = name, time.Time{}, 0, Hash{}
	var s jsonState
	if json.Unmarshal(raw, &s) != nil {
		return
	}
	i.StateSince = s.Timestamp.UTC()
	if f := s.Final; name == "readonly" && f != nil && len(f.Root) == len(i.FinalRoot) && f.Size <= maxTreeSize {
		i.FinalSize, i.FinalRoot = f.Size, Hash(f.Root)
	}
}

// isPlaceholder recognises the URLs of names reserved for documentation and
// tests (RFC 2606): real lists hold retired logs that never were.
func isPlaceholder(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return true
	}
	host := "." + strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	for _, name := range []string{".example.com", ".example.net", ".example.org", ".example", ".invalid", ".test"} {
		if strings.HasSuffix(host, name) {
			return true
		}
	}
	return false
}

// LoadList reads a log list from a file.
func LoadList(path string) (*List, error) {
	data, err := readFile(path, maxList)
	if err != nil {
		return nil, fmt.Errorf("reading log list: %w", err)
	}
	list, err := ParseList(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// VerifyList checks the detached signature of a list's exact bytes, as Chrome
// publishes it: RSA PKCS#1 v1.5 or ECDSA, with SHA-256. key is the PEM or DER
// of the signer's public key.
func VerifyList(list, sig, key []byte) error {
	if block, _ := pem.Decode(key); block != nil {
		key = block.Bytes
	}
	pub, err := x509.ParsePKIXPublicKey(key)
	if err != nil {
		return fmt.Errorf("key of the log list's signer is not a public key: %w", err)
	}
	digest := sha256.Sum256(list)
	ok := false
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(pub, stdcrypto.SHA256, digest[:], sig) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, digest[:], sig)
	}
	if !ok {
		return errors.New("the log list's signature does not match: list and signature must be of the same version, byte for byte")
	}
	return nil
}

// ParseKey returns the DER of a log's public key. value is the name of a file
// that holds it as PEM, base64 or DER, or is itself PEM or base64, as log
// lists print it.
func ParseKey(value string) ([]byte, error) {
	data := []byte(value)
	if st, err := os.Stat(value); err == nil && st.Mode().IsRegular() {
		if data, err = readFile(value, 64<<10); err != nil {
			return nil, fmt.Errorf("reading log key: %w", err)
		}
	}
	der := data
	if block, _ := pem.Decode(data); block != nil {
		der = block.Bytes
	} else if b, err := decodeBase64(strings.Join(strings.Fields(string(data)), "")); err == nil && len(b) > 0 {
		der = b
	}
	if _, err := parsePublicKey(der); err != nil {
		if len(der) == len(value) && string(der) == value {
			return nil, fmt.Errorf("log key %s is neither a file nor PEM nor base64 of a public key", quote(value))
		}
		return nil, err
	}
	return der, nil
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, nil
}
