package schema

// Limits of a name in the name tables (RFC 1035 section 2.3.4, as text).
const (
	maxDNSName  = 253
	maxDNSLabel = 63
)

// ReverseName returns the form of a DNS name that the name tables are sorted
// by: "www.example.com" gives "com.example.www.", so that a domain and all
// below it are one range, ["com.example.", "com.example/"). wildcard says that
// a leading "*." was taken off.
//
// ASCII letters are made small and one trailing dot is removed; nothing else
// is changed (A-labels stay A-labels). ok is false for what no one can look up
// as a host name: more than 253 bytes, a label that is empty or of more than 63
// bytes, or a byte that is not printable ASCII or is a space. Such names are
// kept with their certificate only.
func ReverseName(dns string) (rname string, wildcard, ok bool) {
	var buf [maxDNSName + 1]byte
	b, wildcard, ok := AppendReverseName(buf[:0], dns)
	if !ok {
		return "", false, false
	}
	return string(b), wildcard, true
}

// AppendReverseName appends what [ReverseName] returns to dst. If ok is false
// dst is returned as it was.
func AppendReverseName(dst []byte, dns string) (_ []byte, wildcard, ok bool) {
	if n := len(dns); n > 0 && dns[n-1] == '.' {
		dns = dns[:n-1]
	}
	if len(dns) >= 2 && dns[0] == '*' && dns[1] == '.' {
		dns, wildcard = dns[2:], true
	}
	if len(dns) == 0 || len(dns) > maxDNSName || dns == "*" {
		return dst, false, false
	}
	at := len(dst)
	for end := len(dns); ; {
		start := end
		for start > 0 && dns[start-1] != '.' {
			start--
		}
		if n := end - start; n == 0 || n > maxDNSLabel {
			return dst[:at], false, false
		}
		for _, c := range []byte(dns[start:end]) {
			if c <= ' ' || c > '~' {
				return dst[:at], false, false
			}
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
		}
		dst = append(dst, '.')
		if start == 0 {
			return dst, wildcard, true
		}
		end = start - 1
	}
}
