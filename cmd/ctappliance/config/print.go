package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// Print writes the configuration in force as YAML, secrets redacted, each
// value that is not a default with the place where it was set. Read back
// without the secrets it gives the same configuration.
func (c *Config) Print(w io.Writer) error {
	bw := bufio.NewWriter(w)
	group := ""
	for _, k := range configKeys() {
		name, indent := k.Key, ""
		if g, rest, ok := strings.Cut(k.Key, "."); ok {
			if g != group {
				fmt.Fprintf(bw, "%s:\n", g)
			}
			group, name, indent = g, rest, "  "
		}
		v := reflect.ValueOf(c).Elem().FieldByIndex(k.index)
		from := ""
		if o, ok := c.origins[k.Key]; ok {
			from = "  # " + strings.ReplaceAll(o, "\x00", "")
		}
		switch {
		case k.Secret != "" && formatValue(v) != "" && (k.Secret == "yes" || v.Interface().(DSN).hasPassword()):
			// As a comment, so that nobody feeds the stand-in back as a password.
			fmt.Fprintf(bw, "%s# %s: %s%s\n", indent, name, formatValue(v), from)
		case v.Kind() == reflect.Slice && v.Len() == 0:
			fmt.Fprintf(bw, "%s%s: []%s\n", indent, name, from)
		case k.items != nil:
			fmt.Fprintf(bw, "%s%s:%s\n", indent, name, from)
			for i := range v.Len() {
				dash := "- "
				for _, ik := range k.items {
					f := v.Index(i).FieldByIndex(ik.index)
					if f.IsZero() && ik.Default == "" {
						continue
					}
					fmt.Fprintf(bw, "%s  %s%s: %s\n", indent, dash, ik.Key, yamlText(f))
					dash = "  "
				}
			}
		case v.Kind() == reflect.Slice:
			fmt.Fprintf(bw, "%s%s:%s\n", indent, name, from)
			for i := range v.Len() {
				fmt.Fprintf(bw, "%s  - %s\n", indent, yamlText(v.Index(i)))
			}
		default:
			fmt.Fprintf(bw, "%s%s: %s%s\n", indent, name, yamlText(v), from)
		}
	}
	return bw.Flush()
}

// yamlText writes one value so that it reads back as itself and nothing in it
// reaches the terminal as a control character.
func yamlText(v reflect.Value) string {
	text := formatValue(v)
	if v.Kind() != reflect.String {
		return text
	}
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" &&
		!strings.HasSuffix(text, ":") && !strings.HasPrefix(text, "-") {
		switch strings.ToLower(text) {
		case "true", "false", "null", "yes", "no", "on", "off":
		default:
			return text
		}
	}
	return strconv.QuoteToASCII(text)
}
