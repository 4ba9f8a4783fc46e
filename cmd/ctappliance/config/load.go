package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"ctappliance/cmd/ctappliance/plain"
)

// maxConfigErrors is how many mistakes are listed before the rest is counted
// only.
const maxConfigErrors = 40

// Input is where a configuration comes from, apart from the files that
// it names.
type Input struct {
	File    string              // --config; "" looks at the environment
	Environ []string            // NAME=value, as os.Environ has it
	Flags   map[string][]string // key → values of its flag, in order

	// Matters reports whether the command makes use of a key; nil: of all. A
	// mistake in any other key is a warning: status must not fail because it
	// may not read the store's password.
	Matters func(key string) bool
}

// origin is how and where the user wrote a key.
type origin struct {
	name  string // store.dsn, CTAPPLIANCE_STORE_DSN, --store-dsn
	where string // " (ctappliance.yaml:7)", or "" where name says it all
}

// loader lays the sources over each other. Mistakes are collected, so that
// the user hears of all of them at once.
type loader struct {
	cfg     *Config
	keys    []configKey
	origins map[string]origin
	bad     map[string]bool // keys with a mistake: not validated again
	errs    []error
	matters func(key string) bool
}

// Read lays default, file, credentials, environment and flags over each
// other. The configuration is returned even where the error is not nil: it
// then holds what could be understood. validate is run on it, and what it says
// about keys that could not be read is left out.
func Read(in Input, validate func(*Config) []KeyError) (*Config, error) {
	l := &loader{cfg: Default(), keys: configKeys(), origins: map[string]origin{}, bad: map[string]bool{}, matters: in.Matters}
	env := map[string]string{}
	for _, kv := range in.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	if dir, _, _ := strings.Cut(env["STATE_DIRECTORY"], ":"); dir != "" {
		l.cfg.DataDir = dir
		l.origins["data-dir"] = origin{name: "STATE_DIRECTORY"}
	}
	l.file(in.File, env)
	l.credentials(env["CREDENTIALS_DIRECTORY"])
	l.environ(env)
	l.flags(in.Flags)
	for key, o := range l.origins {
		l.cfg.origins[key] = o.name + "\x00" + o.where
	}
	for _, e := range validate(l.cfg) {
		if !l.isBad(e.key) {
			l.mistake(e.key, plain.LineError{Err: fmt.Errorf("%s: %w", l.cfg.Label(e.key), e.err)})
		}
	}
	if n := len(l.errs); n > maxConfigErrors {
		l.errs = append(l.errs[:maxConfigErrors:maxConfigErrors], fmt.Errorf("… and %d more mistakes", n-maxConfigErrors))
	}
	return l.cfg, errors.Join(l.errs...)
}

// Label returns the key as the user typed it, with the place in the file.
// Keys that were not typed are named as they would be in a file.
func (c *Config) Label(key string) string {
	for at := len(key); at > 0; at = strings.LastIndexAny(key[:at], ".[") {
		if o, ok := c.origins[key[:at]]; ok {
			name, where, _ := strings.Cut(o, "\x00")
			return name + key[at:] + where
		}
	}
	return key
}

// Chosen reports whether the user has set the key.
func (c *Config) Chosen(key string) bool {
	_, ok := c.origins[key]
	return ok
}

// Typed has errors name keys by the flags that have set them since, and forget
// how others were set.
func (c *Config) Typed(forget []string, flags map[string]string) {
	for _, key := range forget {
		delete(c.origins, key)
	}
	for key, flag := range flags {
		c.origins[key] = flag + "\x00"
	}
}

// isBad reports whether a mistake was found in a key or in what it is part of.
func (l *loader) isBad(key string) bool {
	for at := len(key); at > 0; at = strings.LastIndexAny(key[:at], ".[") {
		if l.bad[key[:at]] {
			return true
		}
	}
	return false
}

// fail notes a mistake in a key.
func (l *loader) fail(key string, o origin, format string, args ...any) {
	l.bad[key] = true
	l.mistake(key, plain.LineError{Err: fmt.Errorf("%s%s: %w", o.name, o.where, fmt.Errorf(format, args...))})
}

// mistake notes an error, or a warning where the key does not matter to the
// command. A name that is no key matters to all: nobody knows what it was to be.
func (l *loader) mistake(key string, err plain.LineError) {
	base, _, _ := strings.Cut(key, "[")
	if _, _, known := findKey(l.keys, base); known && l.matters != nil && !l.matters(base) {
		l.cfg.Warnings = append(l.cfg.Warnings, err.Error())
		return
	}
	l.errs = append(l.errs, err)
}

// file lays the config file over the defaults.
func (l *loader) file(path string, env map[string]string) {
	o := origin{name: "--config"}
	if path == "" {
		path, o.name = env[envPrefix+"CONFIG"], envPrefix+"CONFIG"
	}
	if path == "" {
		// systemd's ConfigurationDirectory=; the file there is optional.
		dir, _, _ := strings.Cut(env["CONFIGURATION_DIRECTORY"], ":")
		if dir == "" {
			return
		}
		path, o.name = filepath.Join(dir, "ctappliance.yaml"), "CONFIGURATION_DIRECTORY"
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	text, mode, err := ReadSmallFile(path, maxConfigSize)
	if err != nil {
		l.fail("config", o, "%w", err)
		return
	}
	root, err := parseYAML(text)
	var ye *yamlError
	if errors.As(err, &ye) {
		l.fail("config", origin{name: fmt.Sprintf("%s:%d", plain.QuotePath(path), ye.line)}, "%s", ye.msg)
		return
	}
	d := decoder{loader: l, place: func(line int) string { return fmt.Sprintf(" (%s:%d)", plain.QuotePath(path), line) }}
	d.secret = func(k configKey, o origin) bool {
		if mode&0o007 == 0 {
			return true
		}
		l.fail(k.Key, o, "a secret in a file that every user may access (mode %04o); chmod 640 %s, or name a file of its own with %s-file",
			mode, plain.QuotePath(path), k.Key)
		return false
	}
	d.mapping("", l.keys, reflect.ValueOf(l.cfg).Elem(), root)
}

// credentials reads the secrets that systemd hands over (LoadCredential=): a
// file per key, named like the key.
func (l *loader) credentials(dir string) {
	if dir == "" {
		return
	}
	for _, k := range l.keys {
		path := filepath.Join(dir, k.Key)
		if k.Secret == "" {
			continue
		}
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		l.secretFile(k, path, origin{name: k.Key, where: " (systemd credential)"})
	}
}

// environ lays the environment over that. Empty variables count as not set:
// compose files hand them on so.
func (l *loader) environ(env map[string]string) {
	known := []string{envPrefix + "CONFIG"}
	for _, k := range l.keys {
		o := origin{name: k.Env()}
		known = append(known, o.name)
		text := env[o.name]
		if k.Secret != "" {
			fo := origin{name: o.name + "_FILE"}
			known = append(known, fo.name)
			if path := env[fo.name]; path != "" {
				if text != "" {
					l.fail(k.Key, o, "is set, and so is %s; keep one", fo.name)
					continue
				}
				l.secretFile(k, path, fo)
				continue
			}
		}
		if text != "" {
			l.text(k, []string{text}, o)
		}
	}
	for name := range env {
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) || ignoredEnv(name) {
			continue
		}
		w := plain.Printable(name) + ": is not a setting and has no effect"
		if near := plain.Nearest(name, known); near != "" {
			w += "; did you mean " + near + "?"
		}
		l.cfg.Warnings = append(l.cfg.Warnings, w)
	}
	slices.Sort(l.cfg.Warnings)
}

// ignoredEnv reports whether a variable with our prefix is not a setting and
// rightly so: those of the test suite, and those that Kubernetes sets for a
// service called ctappliance.
func ignoredEnv(name string) bool {
	name = strings.TrimPrefix(name, envPrefix)
	return name == "DATA" || name == "PORT" || envPrefix+name == StepFileEnv || strings.HasPrefix(name, "TEST_") || strings.HasPrefix(name, "CRASH_") ||
		strings.HasPrefix(name, "SERVICE_") || strings.HasPrefix(name, "PORT_")
}

// flags lays the command line over everything. A "-file" flag of a secret
// comes with the key's name and that ending.
func (l *loader) flags(flags map[string][]string) {
	for _, k := range l.keys {
		o := origin{name: "--" + k.Flag()}
		values, ok := flags[k.Key]
		if k.Secret != "" {
			if ok && (k.Secret == "yes" || DSN(values[len(values)-1]).hasPassword()) {
				l.fail(k.Key, o, "every user of this machine can read a command line; put the secret in a file and name it with --%s-file, or use %s",
					k.Flag(), k.Env())
				continue
			}
			if paths := flags[k.Key+"-file"]; len(paths) > 0 {
				if ok {
					l.fail(k.Key, o, "is given, and so is --%s-file; keep one", k.Flag())
					continue
				}
				l.secretFile(k, paths[len(paths)-1], origin{name: "--" + k.Flag() + "-file"})
				continue
			}
		}
		if ok {
			l.text(k, values, o)
		}
	}
}

// text sets a key from the environment or a flag. Only lists make use of more
// than the last value.
func (l *loader) text(k configKey, values []string, o origin) {
	v := reflect.ValueOf(l.cfg).Elem().FieldByIndex(k.index)
	if k.typ.Kind() != reflect.Slice {
		l.scalar(k, v, values[len(values)-1], o)
		return
	}
	list := yamlNode{kind: yamlList}
	for _, text := range values {
		// Conditions of a rule are separated by commas themselves.
		if k.items == nil && !strings.HasPrefix(k.Key, "follow.") && !strings.HasPrefix(strings.TrimSpace(text), "[") {
			for part := range strings.SplitSeq(text, ",") {
				list.items = append(list.items, yamlNode{kind: yamlScalar, text: strings.TrimSpace(part)})
			}
			continue
		}
		if k.items == nil && !strings.HasPrefix(strings.TrimSpace(text), "[") {
			list.items = append(list.items, yamlNode{kind: yamlScalar, text: text})
			continue
		}
		n, err := parseYAML([]byte(text))
		var ye *yamlError
		if errors.As(err, &ye) {
			l.fail(k.Key, o, "%s", ye.msg)
			return
		}
		switch {
		case n.kind == yamlList:
			list.items = append(list.items, n.items...)
		case n.kind == yamlScalar && k.Key == "lists.sources": // google,apple
			for part := range strings.SplitSeq(n.text, ",") {
				list.items = append(list.items, yamlNode{kind: yamlScalar, text: strings.TrimSpace(part)})
			}
		default:
			list.items = append(list.items, n)
		}
	}
	d := decoder{loader: l, place: func(int) string { return "" }}
	d.value(k.Key, k, v, list, o)
}

// scalar sets a key that is a single value.
func (l *loader) scalar(k configKey, v reflect.Value, text string, o origin) {
	if err := setText(v, text); err != nil {
		l.fail(k.Key, o, "%w", err)
		return
	}
	l.origins[k.Key] = o
	delete(l.bad, k.Key) // a higher layer overrules a mistake below for Validate, not for the user
}

// secretFile sets a secret from a file: its text without the line break at the
// end.
func (l *loader) secretFile(k configKey, path string, o origin) {
	text, _, err := ReadSmallFile(path, 64<<10)
	if err != nil {
		l.fail(k.Key, o, "%w", err)
		return
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if s == "" {
		l.fail(k.Key, o, "%s is empty; write the secret into it", plain.QuotePath(path))
		return
	}
	l.scalar(k, reflect.ValueOf(l.cfg).Elem().FieldByIndex(k.index), s, o)
}

// ReadSmallFile reads a file of at most limit bytes and returns its mode too.
func ReadSmallFile(path string, limit int64) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if st.IsDir() {
		return nil, 0, fmt.Errorf("%s is a directory; name a file", plain.QuotePath(path))
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", plain.QuotePath(path), err)
	}
	if int64(len(text)) > limit {
		return nil, 0, fmt.Errorf("%s is larger than %s", plain.QuotePath(path), Size(limit))
	}
	return text, st.Mode().Perm(), nil
}
