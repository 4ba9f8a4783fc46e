package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"ctappliance/cmd/ctappliance/plain"
)

// decoder lays a YAML tree over a configuration: the config file, or the text
// of a list in a flag or the environment.
type decoder struct {
	*loader
	place  func(line int) string            // " (ctappliance.yaml:7)"
	secret func(k configKey, o origin) bool // may this secret stand here? nil: no secrets come this way
}

// mapping sets the keys below prefix from a mapping. Nested and dotted keys
// (store: {dsn: …} and store.dsn: …) are the same thing.
func (d *decoder) mapping(prefix string, keys []configKey, v reflect.Value, n yamlNode) {
	d.walk(prefix, "", keys, v, n, map[string]int{})
}

// walk goes down one mapping. path is the part of the key within keys that is
// above n; prefix comes before it in messages ("logs[2]." or "").
func (d *decoder) walk(prefix, path string, keys []configKey, v reflect.Value, n yamlNode, seen map[string]int) {
	switch n.kind {
	case yamlNull:
		return
	case yamlMapping:
	default:
		name := strings.TrimSuffix(prefix+path, ".")
		if name == "" {
			name = "config"
		}
		d.fail(name, origin{name, d.place(n.line)}, "is %s; write settings as key: value", n.kind)
		return
	}
	for _, p := range n.pairs {
		key := path + p.key
		o := origin{printableKey(prefix + key), d.place(p.line)}
		if k, file, ok := findKey(keys, key); ok {
			// A secret and its file are two ways to set one key.
			if line, twice := seen[k.Key]; twice {
				d.fail(prefix+k.Key, o, "is set already%s; keep one", d.place(line))
				continue
			}
			seen[k.Key] = p.line
			d.leaf(prefix, k, file, v, p.value, o)
			continue
		}
		if isGroup(keys, key) {
			d.walk(prefix, key+".", keys, v, p.value, seen)
			continue
		}
		if near := plain.Nearest(key, append(groupNames(keys), keyNames(keys)...)); near != "" {
			d.fail(o.name, o, "there is no such key; did you mean %s?", near)
		} else {
			d.fail(o.name, o, "there is no such key; the keys here are %s", strings.Join(siblings(keys, path), ", "))
		}
	}
}

// leaf sets one key of a mapping.
func (d *decoder) leaf(prefix string, k configKey, file bool, v reflect.Value, n yamlNode, o origin) {
	if file {
		if n.kind != yamlScalar || n.text == "" {
			d.fail(prefix+k.Key, o, "is %s; write the path of a file", n.kind)
			return
		}
		d.secretFile(k, n.text, o)
		return
	}
	if k.Secret == "yes" || k.Secret == "part" && DSN(n.text).hasPassword() {
		if n.kind == yamlScalar && n.text != "" && !d.secret(k, o) {
			return
		}
	}
	d.value(prefix+k.Key, k, v.FieldByIndex(k.index), n, o)
}

// value sets a key to a YAML value. A key with nothing behind it is as good as
// not written.
func (d *decoder) value(name string, k configKey, v reflect.Value, n yamlNode, o origin) {
	if n.kind == yamlNull {
		return
	}
	switch {
	case k.items != nil:
		d.structs(name, k, v, n, o)
	case k.typ.Kind() == reflect.Slice:
		if n.kind == yamlScalar {
			n = yamlNode{kind: yamlList, items: []yamlNode{n}}
		}
		if n.kind != yamlList {
			d.fail(name, o, "is %s; write a list", n.kind)
			return
		}
		var list []string
		for i, item := range n.items {
			if item.kind != yamlScalar || item.text == "" {
				d.fail(name, o, "item %d is %s; write a text", i+1, item.kind)
				return
			}
			list = append(list, item.text)
		}
		v.Set(reflect.ValueOf(list))
		d.set(name, o)
	case n.kind != yamlScalar:
		d.fail(name, o, "is %s; write a single value", n.kind)
	default:
		if err := setText(v, n.text); err != nil {
			d.fail(name, o, "%w", err)
			return
		}
		d.set(name, o)
	}
}

// set notes where a value came from. Lists are replaced, so what was known of
// the items of a list below is forgotten.
func (d *decoder) set(name string, o origin) {
	d.origins[name] = o
	delete(d.bad, name)
}

// structs sets a list of settings, such as logs.
func (d *decoder) structs(name string, k configKey, v reflect.Value, n yamlNode, o origin) {
	if n.kind == yamlMapping {
		n = yamlNode{kind: yamlList, items: []yamlNode{n}}
	}
	if n.kind != yamlList && !k.aloneIsURL() {
		d.fail(name, o, "is %s; write a list of settings", n.kind)
		return
	}
	if n.kind == yamlScalar {
		n = yamlNode{kind: yamlList, items: []yamlNode{n}}
	}
	for key := range d.origins {
		if strings.HasPrefix(key, name+"[") {
			delete(d.origins, key)
		}
	}
	list := reflect.MakeSlice(k.typ, 0, len(n.items))
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", name, i)
		io := origin{fmt.Sprintf("%s[%d]", o.name, i), d.place(item.line)}
		d.origins[at] = io
		p := reflect.New(k.typ.Elem())
		setDefaults(p.Interface())
		if item.kind == yamlScalar && k.aloneIsURL() {
			item = yamlNode{kind: yamlMapping, line: item.line, pairs: []yamlPair{{key: "url", line: item.line, value: item}}}
		}
		if item.kind == yamlNull {
			d.fail(at, io, "is empty; write settings, or remove the dash")
		} else {
			d.item(at, io, k.items, p.Elem(), item)
		}
		list = reflect.Append(list, p.Elem())
	}
	if list.Len() == 0 {
		list = reflect.Zero(k.typ) // an empty list is no list
	}
	v.Set(list)
	d.set(name, o)
}

// aloneIsURL reports whether an item of the list may be written as its URL
// alone.
func (k configKey) aloneIsURL() bool { return k.Key == "logs" || k.Key == "lists.sources" }

// item sets the keys of one item of a list. They are named after the list as
// the user typed it (--logs[0].url), and noted under its key (logs[0].url).
func (d *decoder) item(at string, o origin, keys []configKey, v reflect.Value, n yamlNode) {
	if n.kind != yamlMapping {
		d.fail(at, o, "is %s; write settings as key: value", n.kind)
		return
	}
	seen := map[string]bool{}
	for _, p := range n.pairs {
		name := at + "." + p.key
		po := origin{o.name + "." + printableKey(p.key), d.place(p.line)}
		k, _, ok := findKey(keys, p.key)
		switch {
		case !ok:
			if near := plain.Nearest(p.key, keyNames(keys)); near != "" {
				d.fail(name, po, "there is no such key; did you mean %s?", near)
			} else {
				d.fail(name, po, "there is no such key; the keys here are %s", strings.Join(keyNames(keys), ", "))
			}
		case seen[k.Key]:
			d.fail(name, po, "is set already; keep one")
		default:
			seen[k.Key] = true
			d.value(name, k, v.FieldByIndex(k.index), p.value, po)
		}
	}
}

// findKey finds a key by name. file is true if the name is that of a secret's
// file: store.password-file.
func findKey(keys []configKey, name string) (k configKey, file, ok bool) {
	for _, k := range keys {
		if k.Key == name {
			return k, false, true
		}
		if k.Secret != "" && name == k.Key+"-file" {
			return k, true, true
		}
	}
	return configKey{}, false, false
}

// isGroup reports whether keys lie below name.
func isGroup(keys []configKey, name string) bool {
	for _, k := range keys {
		if strings.HasPrefix(k.Key, name+".") {
			return true
		}
	}
	return false
}

// groupNames lists what keys are grouped under: store, wal, …
func groupNames(keys []configKey) []string {
	var names []string
	for _, k := range keys {
		if g, _, ok := strings.Cut(k.Key, "."); ok && !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	return names
}

// keyNames lists every name that may be written.
func keyNames(keys []configKey) []string {
	var names []string
	for _, k := range keys {
		names = append(names, k.Key)
		if k.Secret != "" {
			names = append(names, k.Key+"-file")
		}
	}
	return names
}

// siblings lists what may be written directly below path: keys without the
// path, and groups once.
func siblings(keys []configKey, path string) []string {
	var out []string
	for _, name := range keyNames(keys) {
		rest, ok := strings.CutPrefix(name, path)
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, ".")
		if len(out) == 0 || out[len(out)-1] != rest {
			out = append(out, rest)
		}
	}
	return out
}

// printableKey is a key as it may be written to a terminal.
func printableKey(k string) string {
	k = plain.Printable(k)
	if len(k) > 60 {
		k = k[:60] + "…"
	}
	return k
}
