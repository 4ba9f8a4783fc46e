package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Source is a place that publishes a log list.
type Source struct {
	// Name is what users call it, and its cache file: letters, digits, "-",
	// "_" and ".", at most 64, beginning with a letter or digit.
	Name string

	// URL of the list: https://…, a file: URL, or the path of a file. Plain
	// http only with Options.AllowPrivate.
	URL string

	// SigURL is where the detached signature lies, Key the signer's public key
	// (PEM or DER) that it must match. Both or neither; neither = not signed.
	SigURL string
	Key    []byte
}

// googleKey signs Google's log list. Google publishes it beside the list, as
// log_list_pubkey.pem.
const googleKey = `-----BEGIN PUBLIC KEY-----
MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAsu0BHGnQ++W2CTdyZyxv
HHRALOZPlnu/VMVgo2m+JZ8MNbAOH2cgXb8mvOj8flsX/qPMuKIaauO+PwROMjiq
fUpcFm80Kl7i97ZQyBDYKm3MkEYYpGN+skAR2OebX9G2DfDqFY8+jUpOOWtBNr3L
rmVcwx+FcFdMjGDlrZ5JRmoJ/SeGKiORkbbu9eY1Wd0uVhz/xI5bQb0OgII7hEj+
i/IPbJqOHgB8xQ5zWAJJ0DmG+FM6o7gk403v6W3S8qRYiR84c50KppGwe4YqSMkF
bLDleGQWLoaDSpEWtESisb4JiLaY4H+Kk0EyAhPSb+49JfUozYl+lf7iFN3qRq/S
IXXTh6z0S7Qa8EYDhKGCrpI03/+qprwy+my6fpWHi6aUIk4holUCmWvFxZDfixox
K0RlqbFDl2JXMBquwlQpm8u5wrsic1ksIv9z8x9zh4PJqNpCah0ciemI3YGRQqSe
/mRRXBiSn9YQBUPcaeqCYan+snGADFwHuXCd9xIAdFBolw9R9HTedHGUfVXPJDiF
4VusfX6BRR/qaadB+bqEArF/TzuDUr6FvOR4o8lUUxgLuZ/7HO+bHnaPFKYHHSm+
+z1lVDhhYuSZ8ax3T0C3FZpb7HMjZtpEorSV5ElKJEJwrhrBCMOD8L01EoSPrGlS
1w22i9uGHMn/uGQKo28u7AsCAwEAAQ==
-----END PUBLIC KEY-----
`

// Google returns the list of the logs that Chrome's policy knows, signed.
func Google() Source {
	return Source{
		Name:   "google",
		URL:    "https://www.gstatic.com/ct/log_list/v3/log_list.json",
		SigURL: "https://www.gstatic.com/ct/log_list/v3/log_list.sig",
		Key:    []byte(googleKey),
	}
}

// Apple returns the list of the logs that Apple's policy knows. It is not
// signed: TLS is all that vouches for it.
func Apple() Source {
	return Source{Name: "apple", URL: "https://valid.apple.com/ct/log_list/current_log_list.json"}
}

// ParseSource reads a source as a user writes it: "google", "apple", the
// https:// URL of a list, or the path of a file. The latter two are not signed
// and get a name from the host or the file: "ct.example.org", "own-logs".
func ParseSource(text string) (Source, error) {
	switch text = strings.TrimSpace(text); text {
	case "":
		return Source{}, errors.New(`log list: nothing is named; write "google", "apple", an https:// URL or the path of a file`)
	case "google":
		return Google(), nil
	case "apple":
		return Apple(), nil
	}
	s := Source{URL: text}
	p, err := s.place(s.URL, true)
	if err != nil {
		return Source{}, err
	}
	if p.url != nil {
		s.Name = p.url.Hostname()
	} else {
		s.Name = strings.TrimSuffix(filepath.Base(p.path), filepath.Ext(p.path))
	}
	s.Name = strings.TrimLeft(notInName.ReplaceAllString(s.Name, "-"), "-._")
	s.Name = s.Name[:min(len(s.Name), maxName)]
	if s.Name == "" {
		s.Name = "list"
	}
	if s.Name == "google" || s.Name == "apple" {
		s.Name += "-copy" // the names stand for the real ones, in rules as well
	}
	return s, nil
}

const maxName = 64

var (
	goodName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// check reports what is wrong with a source as configured.
func (s *Source) check(allowHTTP bool) error {
	if !goodName.MatchString(s.Name) || len(s.Name) > maxName {
		return fmt.Errorf("log list %s: its name may have up to %d letters, digits, dots, dashes and underscores", quote(s.Name), maxName)
	}
	if _, err := s.place(s.URL, allowHTTP); err != nil {
		return err
	}
	if (s.SigURL == "") != (len(s.Key) == 0) {
		return fmt.Errorf("log list %s: a signature's URL and the signer's key go together; set both or neither", s.Name)
	}
	if s.SigURL != "" {
		if _, err := s.place(s.SigURL, allowHTTP); err != nil {
			return err
		}
	}
	return nil
}

// place is where bytes come from: a URL, or the path of a file.
type place struct {
	url  *url.URL
	path string
}

// place reads what was configured as URL or SigURL.
func (s *Source) place(raw string, allowHTTP bool) (place, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || strings.ContainsAny(scheme, `/\.`) || len(scheme) < 2 {
		if raw == "" || strings.ContainsRune(raw, 0) {
			return place{}, fmt.Errorf("log list %s: %s is neither an https:// URL nor the path of a file", quote(s.Name), quote(raw))
		}
		return place{path: raw}, nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return place{}, fmt.Errorf("log list %s: %s is not a URL", quote(s.Name), quote(raw))
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && u.Path != "" && strings.HasPrefix(rest, "/"):
		return place{path: filepath.FromSlash(u.Path)}, nil
	case u.Scheme == "file":
		return place{}, fmt.Errorf("log list %s: %s is not of the form file:///path/of/the/list.json", quote(s.Name), quote(raw))
	case u.Scheme == "http" && u.Host != "" && !allowHTTP:
		return place{}, fmt.Errorf("log list %s: %s is plain http; use https:// (a setting allows private addresses and http)", quote(s.Name), quote(raw))
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return place{}, fmt.Errorf("log list %s: %s is neither an https:// URL nor the path of a file", quote(s.Name), quote(raw))
	case u.User != nil:
		return place{}, fmt.Errorf("log list %s: its URL must not hold a user name or password", quote(s.Name))
	}
	return place{url: u}, nil
}

// quote makes a stranger's text fit for a line of output: printable ASCII, at
// most 200 bytes.
func quote(s string) string {
	const most = 200
	q := strconv.QuoteToASCII(s[:min(len(s), most)])
	for len(q) > most {
		s = s[:min(len(s), most)*3/4]
		q = strconv.QuoteToASCII(s)
	}
	return q
}
