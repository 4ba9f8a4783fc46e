package cert

import (
	"math/bits"
	"strings"
)

// Version is the parser's version, written to every row. It grows whenever
// the same bytes would give other columns, so that old rows can be found and
// parsed again.
const Version uint16 = 2

// Flag is a set of observations about one entry. A bit never changes its
// meaning; new bits are added at the end.
type Flag uint64

// The flags. Every one of them makes the status at least odd.
const (
	SerialNeg    Flag = 1 << iota // serial number below zero
	SerialPad                     // serial number not minimally encoded, or without content
	SerialLong                    // serial number of more than 20 octets
	SerialZero                    // serial number zero
	TimeOdd                       // a validity date not in the DER form, read leniently
	TimeGT                        // GeneralizedTime for a year before 2050 (RFC 5280 section 4.1.2.5 wants UTCTime)
	TimeBad                       // a validity date unreadable (column 0) or out of range (column clamped)
	NameOdd                       // a distinguished name with bytes outside its string type, an old charset or a broken attribute
	NameMany                      // a distinguished name longer than the limits, cut off
	SANOdd                        // a dNSName, rfc822Name or URI with bytes or a shape that cannot be one; kept as it is
	SANBad                        // a general name with the wrong class, form or length; kept in OtherNames
	SANMany                       // more subject alternative names than are listed: see Row.SANCount
	ListMany                      // another list (URLs, policies, key usages, SCTs, extensions) longer than is listed
	ExtDup                        // an extension appears twice; lists are unions, of single values the last is kept
	ExtBad                        // an extension malformed, or with trailing data
	ExtEmpty                      // an extension list that is present and empty
	KUBad                         // keyUsage with padding bits set, unknown bits or no content; padding is masked
	SCTBad                        // an SCT list empty, malformed or of an unknown version
	KeyOdd                        // a public key of unknown algorithm or curve, or with odd or unreadable parameters
	SigMismatch                   // signature algorithms inside and outside the TBSCertificate differ; the inner is stored
	VersionOdd                    // not an X.509 version 3 certificate
	UniqueID                      // carries issuerUniqueID or subjectUniqueID
	NonMinLen                     // a length not minimally encoded
	CritBad                       // a critical BOOLEAN that is neither 00 nor FF
	URLOdd                        // an AIA or CRL location that is not a URL, or a URL with control or non-ASCII bytes
	BCBad                         // basicConstraints with a path length below zero or absurd
	OIDOdd                        // an object identifier that is not one
	TBSDiffers                    // the submitted precertificate less its poison is not the leaf's TBSCertificate
	PrecertBad                    // the submitted precertificate is missing or cannot be read
	PoisonOdd                     // poison in an x509_entry, or none in a submitted precertificate
	NoIssuer                      // the issuer's key is not known: IssuerKeyHash is zero
	UnknownLeaf                   // version, leaf_type or entry_type unknown
	LeafBad                       // the leaf is shorter than it says, or carries trailing bytes
	Oversize                      // larger than MaxCertificate: not parsed
	TrailingData                  // bytes after the certificate, or after a part of it
	BER                           // an indefinite length
	Panic                         // the parser failed; a defect of ours

	numFlags = iota
)

var flagNames = [numFlags]string{
	"SerialNeg", "SerialPad", "SerialLong", "SerialZero", "TimeOdd", "TimeGT",
	"TimeBad", "NameOdd", "NameMany", "SANOdd", "SANBad", "SANMany", "ListMany",
	"ExtDup", "ExtBad", "ExtEmpty", "KUBad", "SCTBad", "KeyOdd", "SigMismatch",
	"VersionOdd", "UniqueID", "NonMinLen", "CritBad", "URLOdd", "BCBad", "OIDOdd",
	"TBSDiffers", "PrecertBad", "PoisonOdd", "NoIssuer", "UnknownLeaf", "LeafBad",
	"Oversize", "TrailingData", "BER", "Panic",
}

// Has reports whether every bit of g is set in f.
func (f Flag) Has(g Flag) bool { return f&g == g }

// String returns the names of the set bits joined by "+", in order of their
// bits, or "" for none. A bit without a name prints as its number.
func (f Flag) String() string {
	var parts []string
	for f != 0 {
		i := bits.TrailingZeros64(uint64(f))
		f &^= 1 << i
		if i < numFlags {
			parts = append(parts, flagNames[i])
		} else {
			parts = append(parts, "bit"+itoa(i))
		}
	}
	return strings.Join(parts, "+")
}

// FlagNames returns the name of every flag; the index is the bit's number.
func FlagNames() []string { return flagNames[:] }

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return string([]rune{rune('0' + i/10), rune('0' + i%10)})
}
