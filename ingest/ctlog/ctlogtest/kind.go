package ctlogtest

// Kind is the read protocol that a log speaks. Its values are those of
// ctlog.Kind; this package does not import what it is the oracle for.
type Kind uint8

// The two read protocols.
const (
	RFC6962 Kind = iota // RFC 6962 section 4
	Static              // c2sp.org/static-ct-api
)

// String returns "rfc6962" or "static".
func (k Kind) String() string {
	if k == Static {
		return "static"
	}
	return "rfc6962"
}
