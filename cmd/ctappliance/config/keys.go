package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"ctappliance/cmd/ctappliance/plain"
)

// envPrefix begins every environment variable of the appliance.
const envPrefix = "CTAPPLIANCE_"

// StepFileEnv begins like them and is no key: by it crash tests learn where the
// process is.
const StepFileEnv = "CTAPPLIANCE_STEP_FILE"

// configKey is one leaf of Config, read from its struct tags.
type configKey struct {
	Key      string // store.dsn; of a list's items: logs[].url
	Doc      string
	Default  string
	Min, Max string
	Zero     string
	Choices  []string
	Secret   string // "", "yes", "part"
	Live     bool   // a reload changes it

	index []int // path to the field, for reflect.Value.FieldByIndex
	typ   reflect.Type
	items []configKey // of a list of structs: the keys of an item
}

// Env returns the environment variable of the key: store.dsn →
// CTAPPLIANCE_STORE_DSN.
func (k configKey) Env() string { return envPrefix + envSuffix(k.Key) }

func envSuffix(key string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// Flag returns the flag of the key without its dashes: store.dsn → store-dsn.
func (k configKey) Flag() string { return strings.ReplaceAll(k.Key, ".", "-") }

// Type says what may be written as the value.
func (k configKey) Type() string {
	switch {
	case len(k.Choices) > 0:
		return strings.Join(k.Choices, " | ")
	case k.items != nil:
		return "list of settings"
	}
	switch reflect.New(k.typ).Interface().(type) {
	case *Size:
		return "size"
	case *Duration:
		return "duration"
	case *Secret:
		return "secret"
	case *DSN:
		return "URL"
	case *Start:
		return "zero | now | index | date, +history"
	}
	switch k.typ.Kind() {
	case reflect.Bool:
		return "true | false"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of texts"
	}
	return "text"
}

// configKeys returns every key of Config in the order of declaration.
func configKeys() []configKey { return keysOf(reflect.TypeFor[Config](), "", nil) }

func keysOf(t reflect.Type, prefix string, index []int) []configKey {
	var keys []configKey
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("key")
		if !ok {
			continue
		}
		at := append(append([]int(nil), index...), i)
		doc, leaf := f.Tag.Lookup("doc")
		if !leaf {
			keys = append(keys, keysOf(f.Type, prefix+name+".", at)...)
			continue
		}
		k := configKey{
			Key: prefix + name, Doc: doc, Default: f.Tag.Get("default"),
			Min: f.Tag.Get("min"), Max: f.Tag.Get("max"), Zero: f.Tag.Get("zero"),
			Secret: f.Tag.Get("secret"), Live: f.Tag.Get("live") == "yes", index: at, typ: f.Type,
		}
		if c := f.Tag.Get("choices"); c != "" {
			k.Choices = strings.Split(c, ",")
		}
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			k.items = keysOf(f.Type.Elem(), "", nil)
		}
		keys = append(keys, k)
	}
	return keys
}

// setDefaults fills a pointer to a struct with the defaults of its keys.
func setDefaults(p any) {
	v := reflect.ValueOf(p).Elem()
	for _, k := range keysOf(v.Type(), "", nil) {
		if k.Default == "" {
			continue
		}
		if err := setText(v.FieldByIndex(k.index), k.Default); err != nil {
			panic("config: default of " + k.Key + ": " + err.Error()) // a test reads them all
		}
	}
}

// setText parses the text of one value into v.
func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("has a NUL byte inside")
		}
		v.SetString(text)
	case reflect.Bool:
		b, err := parseBool(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(text), "_", ""), 10, 64)
		if err != nil {
			return fmt.Errorf("%s is not a whole number", plain.Quote(text))
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || f != f {
			return fmt.Errorf("%s is not a number", plain.Quote(text))
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("cannot be set from text")
	}
	return nil
}

// parseBool takes true and false and nothing that YAML or the shell might
// read in two ways.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", plain.Quote(text))
}

// formatValue is the inverse of setText, with secrets redacted.
func formatValue(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprint(v.Interface())
}
