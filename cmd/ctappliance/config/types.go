package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ctappliance/cmd/ctappliance/plain"
)

// Size is a number of bytes. Its text is a number with a unit: B, kB, MB, GB,
// TB, PB (powers of 1000) or KiB, MiB, GiB, TiB, PiB (powers of 1024); a bare
// number is bytes.
type Size int64

var sizeUnits = []struct {
	name string
	n    int64
}{
	{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// UnmarshalText parses a size. Fractions are allowed where the result is a
// whole number of bytes: 1.5GiB.
func (s *Size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	cut := len(text)
	for i, r := range text {
		if (r < '0' || r > '9') && r != '.' && r != '_' {
			cut = i
			break
		}
	}
	num, unit := strings.ReplaceAll(text[:cut], "_", ""), strings.TrimSpace(text[cut:])
	mul := int64(1)
	if unit != "" {
		mul = 0
		for _, u := range sizeUnits {
			if strings.EqualFold(u.name, unit) {
				mul = u.n
			}
		}
	}
	if num == "" || mul == 0 {
		return fmt.Errorf("%s is not a size; write a number and a unit, such as 64MiB or 32MB", plain.Quote(text))
	}
	if n, err := strconv.ParseInt(num, 10, 64); err == nil {
		if n > math.MaxInt64/mul {
			return fmt.Errorf("%s is too large", plain.Quote(text))
		}
		*s = Size(n * mul)
		return nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil {
		return fmt.Errorf("%s is not a size; write a number and a unit, such as 64MiB or 32MB", plain.Quote(text))
	}
	f *= float64(mul)
	if f >= 1<<53 {
		return fmt.Errorf("%s is too large; write it without a fraction", plain.Quote(text))
	}
	if f != math.Trunc(f) {
		return fmt.Errorf("%s is not a whole number of bytes", plain.Quote(text))
	}
	*s = Size(f)
	return nil
}

// String returns the size in the unit that makes the shortest number; it is
// exact.
func (s Size) String() string {
	best, unit := int64(s), ""
	for _, u := range sizeUnits {
		if n := int64(s) / u.n; u.n > 1 && n*u.n == int64(s) && n < best {
			best, unit = n, u.name
		}
	}
	return strconv.FormatInt(best, 10) + unit
}

// Duration is a span of time: Go's notation (300ms, 5s, 1h30m) or whole days
// (7d).
type Duration time.Duration

// UnmarshalText parses a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%s is not a number of days, such as 7d", plain.Quote(text))
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		if _, numErr := strconv.ParseFloat(text, 64); numErr == nil {
			return fmt.Errorf("%s has no unit; write %ss for seconds", plain.Quote(text), text)
		}
		return fmt.Errorf("%s is not a duration; write a number and a unit, such as 300ms, 5s or 1h30m", plain.Quote(text))
	}
	if v < 0 {
		return fmt.Errorf("%s is negative", plain.Quote(text))
	}
	*d = Duration(v)
	return nil
}

// String returns the duration as Go writes it, without trailing zero parts.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// redacted stands where a secret would be printed.
const redacted = "(set, not shown)"

// Secret is a password. However it is printed, its value does not show;
// Reveal is the only way to it.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns "" for an empty secret and a fixed text for any other.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText hides the value from JSON and YAML encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText takes the secret as it stands.
func (s *Secret) UnmarshalText(b []byte) error {
	if strings.ContainsAny(string(b), "\r\n\x00") {
		return errors.New("has a line break or a NUL byte inside; a secret is one line")
	}
	*s = Secret(b)
	return nil
}

// DSN is the URL of a server, with a password inside perhaps: printing it
// leaves that out.
type DSN string

// Reveal returns the URL with everything that is in it.
func (d DSN) Reveal() string { return string(d) }

// dsnPasswordParams are the URL parameters in which ClickHouse drivers take a
// password.
var dsnPasswordParams = []string{"password", "http_headers", "http_proxy"}

// hasPassword reports whether printing the URL would show a password.
func (d DSN) hasPassword() bool {
	u, err := url.Parse(string(d))
	if err != nil {
		// What cannot be parsed may hold one anywhere.
		return strings.ContainsAny(string(d), "@?")
	}
	if _, ok := u.User.Password(); ok {
		return true
	}
	q := u.Query()
	for _, p := range dsnPasswordParams {
		if q.Has(p) {
			return true
		}
	}
	return strings.Contains(u.Opaque, "@")
}

// String returns the URL with its password replaced, or nothing of it where it
// is not a URL.
func (d DSN) String() string {
	if !d.hasPassword() {
		return string(d)
	}
	u, err := url.Parse(string(d))
	if err != nil || u.Opaque != "" {
		return redacted
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), "REDACTED")
	}
	q := u.Query()
	for _, p := range dsnPasswordParams {
		if q.Has(p) {
			q.Set(p, "REDACTED")
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// GoString hides the password from %#v.
func (d DSN) GoString() string { return strconv.Quote(d.String()) }

// MarshalText hides the password from JSON and YAML encoders.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// LogValue hides the password from slog.
func (d DSN) LogValue() slog.Value { return slog.StringValue(d.String()) }

// UnmarshalText takes the URL as it stands; Config.Validate looks at it.
func (d *DSN) UnmarshalText(b []byte) error {
	if strings.ContainsAny(string(b), "\r\n\x00") {
		return errors.New("has a line break or a NUL byte inside; a URL is one line")
	}
	*d = DSN(b)
	return nil
}
