package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// rawValue collects the values of a flag as text. They are parsed with those
// of the file and the environment, by the same rules and in one place.
type rawValue struct{ values []string }

func (r *rawValue) Set(s string) error {
	r.values = append(r.values, s)
	return nil
}

func (r *rawValue) String() string {
	if r == nil {
		return ""
	}
	return strings.Join(r.values, ",")
}

// Flags returns the flags of the keys that are one of names or lie below
// one ("store" stands for all of store.…), and --config. Without names it
// returns all. Every call returns flags of its own; flags of one command only
// may be asked for twice.
func Flags(names ...string) []cli.Flag {
	flags := []cli.Flag{&cli.GenericFlag{
		Name:     "config",
		Category: "Configuration:",
		Usage:    "YAML `FILE` of settings; the same names as the flags here [$" + envPrefix + "CONFIG]",
		Value:    &rawValue{},
	}}
	for _, k := range configKeys() {
		if !chosen(k.Key, names) {
			continue
		}
		category := "Configuration:"
		usage := strings.ReplaceAll(strings.TrimSuffix(plainDoc(k.Doc), "."), "`", "'") + " [$" + k.Env()
		if k.typ.Kind() == reflect.Bool {
			flags = append(flags, &cli.BoolFlag{Name: k.Flag(), Category: category, Usage: usage + "]", Value: k.Default == "true"})
			continue
		}
		flags = append(flags, &cli.GenericFlag{
			Name: k.Flag(), Category: category, Usage: usage + "=`" + placeholder(k) + "`]",
			Value: &rawValue{}, DefaultText: k.defaultText(), Hidden: k.Secret == "yes",
		})
		if k.Secret != "" {
			flags = append(flags, &cli.GenericFlag{
				Name: k.Flag() + "-file", Category: category, Value: &rawValue{},
				Usage: "`FILE` that holds " + k.Key + " [$" + k.Env() + "_FILE]",
			})
		}
	}
	return flags
}

// link is one within docs/config.md.
var link = regexp.MustCompile(`\[([^\]]+)\]\(#[^)]*\)`)

// plainDoc is a key's doc for who does not have the reference open.
func plainDoc(doc string) string { return link.ReplaceAllString(doc, "$1 in docs/config.md") }

func chosen(key string, names []string) bool {
	for _, n := range names {
		if key == n || strings.HasPrefix(key, n+".") {
			return true
		}
	}
	return len(names) == 0
}

// placeholder is the word that stands for the value in the help.
func placeholder(k configKey) string {
	switch t := k.Type(); t {
	case "size", "duration", "URL", "text":
		return strings.ToUpper(t)
	case "whole number", "number":
		return "N"
	case "list of texts", "list of settings":
		return "LIST"
	default:
		return strings.ReplaceAll(t, " ", "")
	}
}

// defaultText is the default as help and reference print it.
func (k configKey) defaultText() string {
	if k.Zero != "" && (k.Default == "0" || k.Default == "0s") {
		return k.Default + " (" + k.Zero + ")"
	}
	return k.Default
}

// Load reads the configuration of a command: its flags, os.Environ and
// the files that they name. Everything that is wrong comes back as one error
// of several lines. talksToLogs asks for what is needed to do so
// (Config.ValidateLogs) as well.
func Load(cctx *cli.Context, talksToLogs bool) (*Config, error) {
	in := Input{Environ: os.Environ(), Flags: map[string][]string{}, Matters: func(key string) bool {
		k, _, _ := findKey(configKeys(), key)
		return hasFlag(cctx, k.Flag()) || talksToLogs && (key == "logs" || key == "log-names" || key == "contact")
	}}
	if v, ok := cctx.Generic("config").(*rawValue); ok && len(v.values) > 0 {
		in.File = v.values[len(v.values)-1]
	}
	for _, k := range configKeys() {
		if k.typ.Kind() == reflect.Bool {
			if cctx.IsSet(k.Flag()) {
				in.Flags[k.Key] = []string{map[bool]string{true: "true", false: "false"}[cctx.Bool(k.Flag())]}
			}
			continue
		}
		for _, suffix := range []string{"", "-file"} {
			if v, ok := cctx.Generic(k.Flag() + suffix).(*rawValue); ok && len(v.values) > 0 {
				in.Flags[k.Key+suffix] = v.values
			}
		}
	}
	return Read(in, func(c *Config) []KeyError {
		problems := c.Problems()
		if talksToLogs {
			problems = append(problems, c.LogProblems()...)
		}
		return problems
	})
}

// hasFlag reports whether the command, or one above it, has a flag.
func hasFlag(cctx *cli.Context, name string) bool {
	for _, c := range cctx.Lineage() {
		if c.Command == nil {
			continue
		}
		for _, f := range c.Command.Flags {
			if slices.Contains(f.Names(), name) {
				return true
			}
		}
	}
	return false
}
