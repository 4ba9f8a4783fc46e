package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"ctappliance/internal/durable"
)

// FileName is the checkpoint's name inside the data directory.
const FileName = "checkpoint.db"

// lockWait is how long another process is given to finish.
const lockWait = time.Second

// ErrInUse means that another process has the checkpoint open.
var ErrInUse = errors.New("checkpoint is in use by another process")

// ErrNotExist means that there is no checkpoint to read.
var ErrNotExist = errors.New("there is no checkpoint")

// DamagedError is a checkpoint whose bytes are not what was written.
type DamagedError struct {
	Path   string
	Reason string
}

func (e *DamagedError) Error() string { return "checkpoint " + e.Path + " is damaged: " + e.Reason }

var (
	bucketMeta    = []byte("meta")
	bucketSpans   = []byte("spans")
	bucketIntents = []byte("intents")
	bucketHeads   = []byte("heads")
	keyState      = []byte("state")
	keySeal       = []byte("seal")
	buckets       = [][]byte{bucketMeta, bucketSpans, bucketIntents, bucketHeads}
)

// DB is an open checkpoint. Its methods may be called concurrently.
type DB struct {
	db   *bolt.DB
	path string
}

// Open opens the checkpoint of a data directory, creating it if it is not
// there. A damaged file is set aside as checkpoint.db.damaged-<unix time> and
// a new one created; setAside then names it, and the caller must rebuild.
func Open(dir string) (db *DB, setAside string, err error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(durable.OS{}, dir, path); err != nil {
			return nil, "", err
		}
	} else if err != nil {
		return nil, "", fmt.Errorf("looking for checkpoint: %w", err)
	}
	db, err = open(path, false)
	var damaged *DamagedError
	if !errors.As(err, &damaged) {
		return db, "", err
	}
	setAside = durable.Aside(path)
	if err := os.Rename(path, setAside); err != nil {
		return nil, "", fmt.Errorf("setting damaged checkpoint aside: %w", err)
	}
	if err := create(durable.OS{}, dir, path); err != nil {
		return nil, setAside, err
	}
	db, err = open(path, false)
	return db, setAside, err
}

// OpenReadOnly opens an existing checkpoint for reading. It returns
// ErrNotExist or ErrInUse where those are the reason.
func OpenReadOnly(dir string) (*DB, error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotExist
	}
	return open(path, true)
}

// create makes an empty checkpoint under a temporary name and renames it.
func create(fsys durable.FS, dir, path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("creating checkpoint: %w", err)
	}
	b, err := bolt.Open(tmp, 0o600, options(false))
	if err != nil {
		return fmt.Errorf("creating checkpoint: %w", err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySeal, sealOf(tx))
	})
	if err := errors.Join(err, b.Close()); err != nil {
		return fmt.Errorf("creating checkpoint: %w", err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fmt.Errorf("creating checkpoint: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("creating checkpoint: %w", err)
	}
	return nil
}

func options(readOnly bool) *bolt.Options {
	return &bolt.Options{Timeout: lockWait, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType}
}

// open opens the file and reads it once, whole: bbolt meets damage lazily and
// often with a panic, which must happen here and not in the middle of a day.
func open(path string, readOnly bool) (db *DB, err error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	var b *bolt.DB
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a fault in the mapping is a panic like others
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, &DamagedError{path, fmt.Sprint(r)}
		}
		if err != nil && b != nil {
			// The lock goes with the file; a second panic on the way is of no interest.
			func() { defer func() { _ = recover() }(); _ = b.Close() }()
		}
	}()
	b, err = bolt.Open(path, 0o600, options(readOnly))
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, &DamagedError{path, err.Error()}
	case err != nil:
		return nil, fmt.Errorf("opening checkpoint: %w", err)
	}
	db = &DB{db: b, path: path}
	if _, err := db.Load(); err != nil {
		return nil, err
	}
	return db, nil
}

// Close releases the file.
func (db *DB) Close() error { return db.db.Close() }

// Path returns the file's path.
func (db *DB) Path() string { return db.path }

// Load reads everything. A value that does not match its checksum is a
// *DamagedError.
func (db *DB) Load() (*State, error) {
	s := &State{Spans: map[uint64]Span{}, Heads: map[[32]byte]Head{}}
	err := db.db.View(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return &DamagedError{db.path, "bucket " + string(name) + " is missing"}
			}
		}
		if seal := tx.Bucket(bucketMeta).Get(keySeal); !bytes.Equal(seal, sealOf(tx)) {
			return &DamagedError{db.path, "something in it is missing, or is not what was written"}
		}
		if v := tx.Bucket(bucketMeta).Get(keyState); v != nil {
			if err := db.decode(v, &s.Meta); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketSpans).ForEach(func(k, v []byte) error {
			var span Span
			if err := db.decode(v, &span); err != nil {
				return err
			}
			s.Spans[span.ID] = span
			return nil
		}); err != nil {
			return err
		}
		if err := tx.Bucket(bucketIntents).ForEach(func(k, v []byte) error {
			var in Intent
			if err := db.decode(v, &in); err != nil {
				return err
			}
			s.Intents = append(s.Intents, in)
			return nil
		}); err != nil {
			return err
		}
		return tx.Bucket(bucketHeads).ForEach(func(k, v []byte) error {
			var h Head
			if err := db.decode(v, &h); err != nil {
				return err
			}
			if len(k) != 32 {
				return &DamagedError{db.path, "a log ID is not 32 bytes long"}
			}
			s.Heads[[32]byte(k)] = h
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// sealOf returns the checksum over everything but the seal itself: every key
// with its value, so that a missing one shows too.
func sealOf(tx *bolt.Tx) []byte {
	sum := crc32.New(castagnoli)
	part := func(b []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(b)))
		sum.Write(n[:])
		sum.Write(b)
	}
	for _, name := range buckets {
		part(name)
		_ = tx.Bucket(name).ForEach(func(k, v []byte) error { // returns what we return
			if !bytes.Equal(name, bucketMeta) || !bytes.Equal(k, keySeal) {
				part(k)
				part(v)
			}
			return nil
		})
	}
	return sum.Sum(nil)
}

// Update applies fn in one durable transaction: all of it or nothing.
func (db *DB) Update(fn func(*Tx) error) error {
	err := db.db.Update(func(tx *bolt.Tx) error {
		if err := fn(&Tx{tx}); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keySeal, sealOf(tx))
	})
	if err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	return nil
}

// Tx is a write transaction.
type Tx struct{ tx *bolt.Tx }

// PutMeta stores m.
func (t *Tx) PutMeta(m Meta) error { return t.put(bucketMeta, keyState, m) }

// PutSpan stores s under its ID. A delivered mark that would move backwards,
// other than to the end that the span is cut at, is a bug of the caller and
// refused.
func (t *Tx) PutSpan(s Span) error {
	if old := t.tx.Bucket(bucketSpans).Get(key(s.ID)); old != nil {
		var was Span
		if err := unseal(old, &was); err == nil && was.Delivered > s.Delivered && (s.To >= was.To || s.Delivered != s.To) {
			return fmt.Errorf("span %d: delivered mark would move back from %d to %d", s.ID, was.Delivered, s.Delivered)
		}
	}
	return t.put(bucketSpans, key(s.ID), s)
}

// HaltSpan marks a span as halted, notes how far it was verified if that is
// further than what is known, and leaves the rest of it as it is. A span that
// is not there stays away.
func (t *Tx) HaltSpan(id uint64, reason string, verified uint64) error {
	old := t.tx.Bucket(bucketSpans).Get(key(id))
	if old == nil {
		return nil
	}
	var s Span
	if err := unseal(old, &s); err != nil {
		return err
	}
	s.Halted, s.Verified = reason, max(s.Verified, verified)
	return t.put(bucketSpans, key(id), s)
}

// DeleteSpan forgets a span.
func (t *Tx) DeleteSpan(id uint64) error { return t.tx.Bucket(bucketSpans).Delete(key(id)) }

// PutIntent stores in under its ID.
func (t *Tx) PutIntent(in Intent) error { return t.put(bucketIntents, key(in.ID), in) }

// DeleteIntent forgets an intent: its rows are in the ledger.
func (t *Tx) DeleteIntent(id uint64) error { return t.tx.Bucket(bucketIntents).Delete(key(id)) }

// PutHead stores the newest verified head of a log.
func (t *Tx) PutHead(log [32]byte, h Head) error { return t.put(bucketHeads, log[:], h) }

func (t *Tx) put(bucket, k []byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sealed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), crc32.Checksum(body, castagnoli))
	return t.tx.Bucket(bucket).Put(k, append(sealed, body...))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func key(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func (db *DB) decode(v []byte, into any) error {
	if err := unseal(v, into); err != nil {
		return &DamagedError{db.path, err.Error()}
	}
	return nil
}

func unseal(v []byte, into any) error {
	if len(v) < 4 || crc32.Checksum(v[4:], castagnoli) != binary.BigEndian.Uint32(v) {
		return errors.New("a value does not match its checksum")
	}
	return json.Unmarshal(v[4:], into)
}
