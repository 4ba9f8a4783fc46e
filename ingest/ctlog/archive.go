package ctlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	stdcrypto "crypto"

	"golang.org/x/mod/sumdb/tlog"
)

// archiveLog reads the archive of a log: static tiles in a directory or in
// zips, on disk or over https. It speaks static-ct-api whatever its log spoke.
// Leaves of logs that were RFC 6962 logs have no leaf_index; what proves them
// is the tree, as ever.
type archiveLog struct {
	*staticLog
}

// newArchive makes the client of an archive. The key, its URL and the options
// have been checked as far as they are those of any log.
func newArchive(info Info, key stdcrypto.PublicKey, c *client, o Options) (Log, error) {
	l := &archiveLog{staticLog: &staticLog{info: info, key: key, maxBody: o.MaxBody, noIndex: true, rebuild: true}}
	l.info.Kind, l.info.TileURL = Static, ""
	place := strings.TrimRight(info.URL, "/")
	switch {
	case isFileURL(info.URL):
		name, err := filePath(info.URL)
		if err != nil {
			return nil, err
		}
		f, err := openFiles(name)
		if err != nil {
			return nil, err
		}
		l.c = &archiveGetter{f}
		l.info.URL = (&url.URL{Scheme: "file", Path: strings.TrimSuffix(name, "/") + "/"}).String()
	case isZipName(place):
		far := *c
		client := *c.http
		client.CheckRedirect = followRedirects(o.AllowHTTP)
		far.http = &client
		at := strings.LastIndexByte(place, '/') + 1
		name := place[at:]
		far.base = place[:at]
		l.c = &archiveGetter{remoteZips(&far, name)}
	default:
		l.c = c
	}
	return l, nil
}

// remoteZips is the set of zips over https: the one named, and those beside it
// if its name is a number.
func remoteZips(c *client, name string) *zipSet {
	s := &zipSet{first: name, width: zipWidth, part: map[string][2]uint64{}}
	s.open = func(_ context.Context, _ Class, name string) (ranger, error) { return newRemoteFile(c, name), nil }
	_, numbered := zipNumber(name)
	s.numbered = func(n uint64) (string, bool) {
		return fmt.Sprintf("%0*d.zip", len(name)-len(".zip"), n), numbered
	}
	if !numbered {
		s.others = []string{name}
	}
	return s
}

// Head returns the archive's checkpoint, or an archived get-sth answer, if the
// log's key has signed it. An archive that has neither is believed where the
// log list itself says how the log ended, and the archive does not contradict.
func (l *archiveLog) Head(ctx context.Context) (*Head, error) {
	for _, name := range metaFiles[:len(metaFiles)-1] {
		var h *Head
		err := l.c.get(ctx, request{class: ClassHead, path: name, limit: maxHead, accept: gzipOrPlain}, func(a *answer) (err error) {
			h, err = parseArchivedHead(l.info, a.body, l.key)
			return err
		})
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return h, nil
	}
	return l.listedHead(ctx)
}

// Entries reads a data tile and holds it against the archive's own hash tile,
// where there is one. A disk's flipped bit is not a log's lie: it is named and
// waited for, where the proof at the end could only halt.
func (l *archiveLog) Entries(ctx context.Context, from, to, treeSize uint64) (*Batch, error) {
	b, err := l.staticLog.Entries(ctx, from, to, treeSize)
	if err != nil {
		return nil, err
	}
	n := from / tileWidth
	width := min(tileWidth, treeSize-n*tileWidth)
	hashes, err := l.hashTile(ctx, tlog.Tile{H: tileHeight, L: 0, N: int64(n), W: int(width)})
	if errors.Is(err, ErrNotYet) {
		return b, nil // an archive may leave hash tiles out: they follow from the data
	}
	if err != nil {
		return nil, err
	}
	for i := range b.Entries {
		at := (b.TileSkip + i) * sha256.Size
		if LeafHash(b.Entries[i].Leaf) != Hash(hashes[at:at+sha256.Size]) {
			return nil, answerErrorf("archive", "entry %d in tile/data/%s is not the one of tile/0/%s: one of the two files is damaged, put whole ones in their place", from+uint64(i), tilePath(n, width), tilePath(n, width))
		}
	}
	return b, nil
}

// parseArchivedHead reads a checkpoint or a get-sth answer.
func parseArchivedHead(info Info, body []byte, key stdcrypto.PublicKey) (*Head, error) {
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) > 0 && b[0] == '{' {
		return parseSTH(body, key)
	}
	return parseCheckpoint(body, archiveOrigin(info, body), sha256.Sum256(info.Key), key)
}

// archiveOrigin is the origin that an archive's checkpoint must have: the
// log's, where we know it (the archive's own URL is not it), else whatever it
// says. The signature does not cover it, and the key is the log's identity.
func archiveOrigin(info Info, checkpoint []byte) string {
	if origin, err := checkpointOrigin(info.SubmissionURL); err == nil && strings.TrimRight(info.SubmissionURL, "/") != strings.TrimRight(info.URL, "/") {
		return origin
	}
	line, _, _ := bytes.Cut(checkpoint, []byte{'\n'})
	return string(line)
}

// listedHead returns the end of the log as the log list tells it. What
// log.v3.json says is unsigned, and only compared.
func (l *archiveLog) listedHead(ctx context.Context) (*Head, error) {
	var said *finalHead
	var raw []byte
	err := l.c.get(ctx, request{class: ClassHead, path: "log.v3.json", limit: maxHead, accept: gzipOrPlain}, func(a *answer) (err error) {
		raw = bytes.Clone(a.body)
		said, err = parseFinalHead(a.body)
		return err
	})
	if err != nil && !isGone(err) {
		return nil, err
	}
	listed := &finalHead{Size: l.info.FinalSize, Root: l.info.FinalRoot[:]}
	switch {
	case said == nil && listed.Size == 0:
		return nil, &AnswerError{What: "archive", Reason: "has no checkpoint and no get-sth answer, and the log list does not say how the log ended: nothing here can be proven; put the log's last signed head there as get-sth.json"}
	case listed.Size == 0:
		return nil, &AnswerError{What: "archive", Reason: fmt.Sprintf("says in log.v3.json that the log ended with %d entries, unsigned; put the log's last signed head there as get-sth.json, or use a log list that says how it ended", said.Size)}
	case said != nil && (said.Size != listed.Size || !bytes.Equal(said.Root, listed.Root)):
		return nil, &VerifyError{What: "archive", Reason: fmt.Sprintf("says in log.v3.json that the log ended with %d entries and root %x, the log list says %d and %x", said.Size, said.Root, listed.Size, listed.Root), Raw: raw}
	}
	h := &Head{Size: listed.Size, Root: l.info.FinalRoot, Raw: raw}
	if ms := l.info.StateSince.UnixMilli(); ms > 0 && ms <= maxTimestamp {
		h.Timestamp = uint64(ms)
	}
	if said == nil {
		if h.Raw, err = json.Marshal(map[string]*finalHead{"final_tree_head": listed}); err != nil {
			return nil, fmt.Errorf("noting the log list's head: %w", err)
		}
	}
	return h, checkHead("log list", h)
}

// finalHead is the end of a log, as log lists and log.v3.json have it.
type finalHead struct {
	Root []byte `json:"sha256_root_hash"`
	Size uint64 `json:"tree_size"`
}

// parseFinalHead returns the final tree head of a log.v3.json, nil if it has none.
func parseFinalHead(body []byte) (*finalHead, error) {
	const what = "log.v3.json"
	var v struct {
		Final *finalHead `json:"final_tree_head"`
		State map[string]struct {
			Final *finalHead `json:"final_tree_head"`
		} `json:"state"`
	}
	if err := decodeJSON(what, body, &v); err != nil {
		return nil, err
	}
	f := v.Final
	if f == nil {
		f = v.State["readonly"].Final
	}
	if f != nil && len(f.Root) != sha256.Size {
		return nil, answerErrorf(what, "sha256_root_hash has %d bytes, want 32", len(f.Root))
	}
	return f, nil
}

// ErrFileURL is returned by New for a file: URL that the options do not allow.
var ErrFileURL = errors.New("file: URLs are read only where the configuration itself names them: set the log's URL there")

// maxRebuilt bounds the tiles that are read for one Frontier in place of hash
// tiles that an archive has lost: those of 2 Mi entries.
const maxRebuilt = 8192

var errRebuild = fmt.Errorf("%w: hash tiles are missing, and more than %d tiles had to be read in their place", ErrNotYet, maxRebuilt)

// rebuildTile computes a hash tile from what lies below it.
func (l *staticLog) rebuildTile(ctx context.Context, tile tlog.Tile, budget *int) ([]byte, error) {
	if tile.L == 0 {
		if *budget--; *budget < 0 {
			return nil, errRebuild
		}
		b, err := l.dataTile(ctx, uint64(tile.N), uint64(tile.W))
		if tile.W < tileWidth && isGone(err) {
			b, err = l.dataTile(ctx, uint64(tile.N), tileWidth)
		}
		if err != nil {
			return nil, notYet(err)
		}
		data := make([]byte, 0, tile.W*sha256.Size)
		for _, e := range b.Entries[:tile.W] {
			h := LeafHash(e.Leaf)
			data = append(data, h[:]...)
		}
		return data, nil
	}
	data := make([]byte, 0, tile.W*sha256.Size)
	for i := range int64(tile.W) {
		below := tlog.Tile{H: tile.H, L: tile.L - 1, N: tile.N*tileWidth + i, W: tileWidth}
		b, err := l.anyTile(ctx, below, budget)
		if err != nil {
			return nil, err
		}
		var f Frontier
		for ; len(b) > 0; b = b[sha256.Size:] {
			f.Append(Hash(b), nil)
		}
		root := f.Root()
		data = append(data, root[:]...)
	}
	return data, nil
}

// anyTile returns a hash tile, computed if it is an archive's and not there.
func (l *staticLog) anyTile(ctx context.Context, tile tlog.Tile, budget *int) ([]byte, error) {
	if *budget--; *budget < 0 {
		return nil, errRebuild
	}
	data, err := l.hashTile(ctx, tile)
	if l.rebuild && isGone(err) {
		return l.rebuildTile(ctx, tile, budget)
	}
	return data, err
}
