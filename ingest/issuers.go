package ingest

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"ctappliance/ingest/cert"
	"ctappliance/ingest/chain"
	"ctappliance/ingest/ctlog"
	"ctappliance/schema"
)

// issuers knows the chain certificates: it brings those that a batch refers to
// into the chain store before the batch is appended, and reads them for the
// parsers.
type issuers struct {
	store *chain.Store
	out   *slog.Logger
	check *oracle
	group singleflight.Group

	mu     sync.RWMutex
	parsed map[ctlog.Hash]*schema.Issuer
	missed map[ctlog.Hash]time.Time // asked for in vain, when
}

const (
	parsedIssuers  = 10_000 // kept in memory
	missedIssuers  = 10_000
	missedFor      = time.Hour
	issuerTries    = 3
	issuersPerFlow = 64 // fetched for one batch at most; the rest stays unknown
)

func newIssuers(store *chain.Store, out *slog.Logger) *issuers {
	return &issuers{store: store, out: out, parsed: map[ctlog.Hash]*schema.Issuer{}, missed: map[ctlog.Hash]time.Time{}}
}

// collect makes the chain certificates that b refers to durable, and returns
// those that the record must carry itself. A certificate that its log does not
// serve stays unknown, with a warning: chains are not part of what the log
// signed, and must not be able to stop it.
func (i *issuers) collect(ctx context.Context, f *follower, b *ctlog.Batch) (inline [][]byte, err error) {
	fresh := map[ctlog.Hash][]byte{}
	asked := 0
	for e := range b.Entries {
		for _, h := range b.Entries[e].Chain {
			if _, ok := fresh[h]; ok || i.store.Has(h) {
				continue
			}
			der, ok := b.Issuers[h]
			if !ok && b.Issuers == nil {
				if asked++; asked > issuersPerFlow || i.isMissed(h) {
					continue
				}
				if der, err = i.fetch(ctx, f, h); err != nil {
					return nil, err
				}
				ok = der != nil
			}
			if ok {
				fresh[h] = der
			}
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	inline, err = i.store.Add(f.info.ID, fresh)
	if err != nil {
		return nil, err
	}
	for _, der := range inline {
		if len(der) > chain.MaxCertificate {
			return nil, fmt.Errorf("log client returned a chain certificate of %d bytes", len(der))
		}
	}
	return inline, nil
}

// fetch asks the log for an issuer a few times. nil means that it is not to be
// had; an error, that ctx ended.
func (i *issuers) fetch(ctx context.Context, f *follower, h ctlog.Hash) ([]byte, error) {
	v, err, _ := i.group.Do(hex.EncodeToString(h[:]), func() (any, error) {
		var last error
		for try := 1; try <= issuerTries; try++ {
			der, err := f.log.Issuer(ctx, h)
			if err == nil {
				return der, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			last = err
			f.note(err)
			if !sleep(ctx, max(backoff(try), retryAfter(err))) {
				return nil, ctx.Err()
			}
		}
		f.out.Warn("issuer not to be had", "fingerprint", hex.EncodeToString(h[:]), "err", last)
		i.mu.Lock()
		defer i.mu.Unlock()
		if len(i.missed) >= missedIssuers {
			clear(i.missed)
		}
		i.missed[h] = time.Now()
		return []byte(nil), nil
	})
	if err != nil {
		return nil, err
	}
	return v.([]byte), nil
}

func (i *issuers) isMissed(h ctlog.Hash) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	at, ok := i.missed[h]
	return ok && time.Since(at) < missedFor
}

// get returns a chain certificate, parsed. inline holds those of the record at
// hand.
func (i *issuers) get(h ctlog.Hash) (*schema.Issuer, bool) {
	i.mu.RLock()
	p := i.parsed[h]
	i.mu.RUnlock()
	if p != nil {
		return p, true
	}
	der, err := i.store.Get(h)
	if err != nil {
		return nil, false
	}
	parsed := cert.ParseIssuer(der)
	i.check.issuer(h, der)
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.parsed) >= parsedIssuers {
		clear(i.parsed)
	}
	i.parsed[h] = &parsed
	return &parsed, true
}
