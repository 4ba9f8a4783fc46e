package world

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// object is JSON of which only a part is understood here.
type object = map[string]any

// listed is an entry of a list as it came.
type listed struct {
	object
	operator string
	tiled    bool
}

func (e listed) text(key string) string {
	s, _ := e.object[key].(string)
	return s
}

// state returns the one state that an entry is in.
func (e listed) state() string {
	states, _ := e.object["state"].(object)
	for name := range states {
		return name
	}
	return ""
}

// address is where an entry's entries are read.
func (e listed) address() string {
	if e.tiled {
		return e.text("monitoring_url")
	}
	return e.text("url")
}

// identity is the log's ID in the real world.
func (e listed) identity() string { return e.text("log_id") }

// parse reads a list and returns it with its entries, which are parts of it.
func parse(raw []byte) (object, []listed, error) {
	var list object
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // sizes are larger than what a float holds
	if err := d.Decode(&list); err != nil {
		return nil, nil, fmt.Errorf("reading log list: %w", err)
	}
	var out []listed
	operators, _ := list["operators"].([]any)
	for _, op := range operators {
		op, _ := op.(object)
		name, _ := op["name"].(string)
		for _, key := range []string{"logs", "tiled_logs"} {
			logs, _ := op[key].([]any)
			for _, l := range logs {
				l, ok := l.(object)
				if !ok {
					return nil, nil, fmt.Errorf("log list: an entry of %s is not an object", name)
				}
				out = append(out, listed{l, name, key == "tiled_logs"})
			}
		}
	}
	if len(out) == 0 {
		return nil, nil, errors.New("log list: it has no logs")
	}
	return list, out, nil
}

// without returns the entries of a list that keep lets through, in place.
func without(list object, drop func(object) bool) {
	operators, _ := list["operators"].([]any)
	for _, op := range operators {
		op, _ := op.(object)
		for _, key := range []string{"logs", "tiled_logs"} {
			logs, _ := op[key].([]any)
			kept := []any{}
			for _, l := range logs {
				if o, ok := l.(object); !ok || !drop(o) {
					kept = append(kept, l)
				}
			}
			if logs != nil {
				op[key] = kept
			}
		}
	}
}

// rewrite returns a list of this world: raw with our logs in the place of the
// real ones. first says that it is the list before the update.
func (w *World) rewrite(raw []byte, first bool, now time.Time) ([]byte, error) {
	list, entries, err := parse(raw)
	if err != nil {
		return nil, err
	}
	list["log_list_timestamp"] = now.UTC().Format(time.RFC3339)
	late := map[string]bool{}
	for _, e := range entries {
		l := w.byReal[e.identity()]
		if l == nil {
			continue // a placeholder
		}
		if first && l.Role == Appearing {
			late[e.identity()] = true
			continue
		}
		real := e.identity()
		if l.Role == Retiring && !first {
			e.object["state"] = object{"readonly": object{"timestamp": now.UTC().Format(time.RFC3339), "final_tree_head": object{}}}
		}
		if l.Role == Moved && !first {
			e.object["description"] = movedName
		}
		states, _ := e.object["state"].(object)
		if readonly, ok := states["readonly"].(object); ok {
			size, root := l.Head()
			readonly["final_tree_head"] = object{"tree_size": size, "sha256_root_hash": base64.StdEncoding.EncodeToString(root[:])}
		}
		e.object["key"] = base64.StdEncoding.EncodeToString(l.current().Key())
		e.object["log_id"] = base64.StdEncoding.EncodeToString(l.ID[:])
		if e.tiled {
			e.object["monitoring_url"] = l.URL()
		} else {
			e.object["url"] = l.URL()
		}
		w.names[real] = e.text("description")
	}
	without(list, func(e object) bool { return late[listed{object: e}.identity()] })
	return json.MarshalIndent(list, "", "  ")
}

// publish makes a list the one that is served.
func (w *World) publish(list []byte) error {
	sum := sha256.Sum256(list)
	sig, err := ecdsa.SignASN1(rand.Reader, w.key, sum[:])
	if err != nil {
		return fmt.Errorf("signing the log list: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list, w.sig = list, sig
	return nil
}

// List returns the list that is served now, and its signature.
func (w *World) List() (list, sig []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list, w.sig
}

// ListKey is the public key of the lists, as PEM.
func (w *World) ListKey() []byte {
	der, err := x509.MarshalPKIXPublicKey(&w.key.PublicKey)
	if err != nil {
		panic("world: " + err.Error()) // our own key
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func newListKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the lists' key: %w", err)
	}
	return key, nil
}

// address takes a listed URL apart: host, and path with a "/" at both ends.
func address(raw string) (host, path string, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", "", fmt.Errorf("log list: %q is not the URL of a log", raw)
	}
	path = u.Path
	if path == "" || path[len(path)-1] != '/' {
		path += "/"
	}
	return u.Host, path, nil
}
