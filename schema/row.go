package schema

// Hash is a SHA-256 value.
type Hash = [32]byte

// EntryType is the entry_type of RFC 6962 section 3.4.
type EntryType uint8

// The entry types. The values are those of the ledger's Enum8.
const (
	X509Entry    EntryType = 0
	PrecertEntry EntryType = 1
	UnknownEntry EntryType = 2 // a version, leaf_type or entry_type this build does not know; the bytes are kept
)

// Status says how far the certificate of an entry could be read. The values
// are those of the ledger's Enum8.
type Status uint8

// The parse statuses, from best to worst.
const (
	StatusOK       Status = 0 // every column is filled, nothing was odd
	StatusOdd      Status = 1 // every core column is filled, something was odd: see Flags
	StatusPartial  Status = 2 // some column could not be filled
	StatusRefused  Status = 3 // nothing but the envelope could be read; the bytes are kept
	StatusOversize Status = 4 // larger than the parser accepts; the bytes are kept
)

// Validation is what the certificate policies claim about the subject.
type Validation uint8

// The validation levels of the CA/Browser Forum (policy OIDs 2.23.140.1.*).
const (
	ValidationUnknown Validation = 0
	ValidationDV      Validation = 1
	ValidationOV      Validation = 2
	ValidationIV      Validation = 3
	ValidationEV      Validation = 4
)

// Name is a distinguished name taken apart. Every attribute may repeat, so
// every field is a list in order of appearance. Values are UTF-8 where the
// certificate's bytes could be read as text, else the bytes as they are.
type Name struct {
	CommonNames   []string
	Organizations []string
	Units         []string
	Countries     []string
	Localities    []string
	Provinces     []string
	SerialNumbers []string
	Emails        []string
	Text          string // the whole name, RFC 4514 order and escapes
	Raw           []byte // DER of the RDNSequence; aliases the input
}

// SCT is one embedded signed certificate timestamp (RFC 6962 section 3.2).
type SCT struct {
	LogID     Hash
	Timestamp uint64 // milliseconds since 1970
}

// OtherName is a subject alternative name of a kind that has no column.
type OtherName struct {
	Tag   uint8  // GeneralName context tag number, 0..8; 255 if its class was wrong
	Value []byte // the content octets
}

// Row is everything that one log entry becomes: one row of the ledger, and
// the certificate columns that the dependent tables are filled from. Byte
// slices may alias the entry's bytes; a Row is valid as long as those are.
//
// A zero Row is a valid row of an entry of which nothing is known. What could
// not be parsed leaves its columns zero, sets Status and Flags, and Error says
// why in words.
type Row struct {
	// The envelope: authenticated by the log's tree.

	LogID         uint64 // first 8 bytes of the log ID, big endian
	Index         uint64 // position in its log
	Timestamp     uint64 // leaf timestamp, milliseconds since 1970
	EntryType     EntryType
	IssuerKeyHash Hash     // SHA-256 of the issuer's SubjectPublicKeyInfo; zero if unknown
	TBSID         [16]byte // pairs a precertificate with its final certificate

	// What the parser says about its own work.

	Status        Status
	Flags         uint64 // bits of cert.Flag
	Error         string // empty unless Status is Partial, Refused or Oversize
	ParserVersion uint16

	Leaf []byte // the MerkleTreeLeaf that all this was read from; aliases the input

	// The submitted certificate or precertificate. The columns of a precert
	// come from the leaf's TBSCertificate, which the tree authenticates.

	DER         []byte // as submitted; for a precert the poisoned precertificate, unauthenticated
	Fingerprint Hash   // SHA-256(DER)
	Chain       []Hash // SHA-256 of the chain certificates, issuer first; unauthenticated

	Version    uint8  // 1, 2, 3
	Serial     []byte // content octets of the INTEGER
	Issuer     Name
	Subject    Name
	NotBefore  int64 // seconds since 1970
	NotAfter   int64
	DNSNames   []string // SAN dNSName, bytes as they are
	IPs        [][]byte // SAN iPAddress, 4 or 16 bytes
	Emails     []string
	URIs       []string
	OtherNames []OtherName // every other or malformed SAN
	SANCount   uint32      // subject alternative names there are, listed above or not

	KeyAlg  KeyAlg
	KeyBits uint16 // modulus or field size in bits; 0 if unknown
	KeyOID  string // dotted algorithm OID; for EC the curve's
	SPKI    Hash   // SHA-256 of the SubjectPublicKeyInfo
	SigAlg  SigAlg
	SigOID  string // dotted OID of the inner signature algorithm

	KeyUsage    uint16   // bit i is KeyUsage bit i of RFC 5280 section 4.2.1.3
	ExtKeyUsage []string // dotted OIDs
	Policies    []string // dotted OIDs
	Validation  Validation
	IsCA        bool
	PathLen     int16 // -1 if absent
	AKI         []byte
	SKI         []byte
	SKIMethod   SKIMethod // how SKI follows from the key
	SCTs        []SCT
	OCSP        []string
	CAIssuers   []string
	CRLs        []string
	Extensions  []string // dotted OIDs in order of appearance
	Poison      bool     // the precertificate poison extension is present in DER
}

// KeyAlg names a public key algorithm. Values are those of certs.key_alg.
type KeyAlg uint8

// The public key algorithms.
const (
	KeyUnknown KeyAlg = 0
	KeyRSA     KeyAlg = 1
	KeyEC      KeyAlg = 2
	KeyEd25519 KeyAlg = 3
	KeyEd448   KeyAlg = 4
	KeyDSA     KeyAlg = 5
	KeyMLDSA   KeyAlg = 6
	KeyOther   KeyAlg = 7 // see Row.KeyOID
)

// SKIMethod says how a subject key identifier follows from the key. Values are
// those of certs.ski_method. RFC 7093 has other methods, of which real
// certificates make no use.
type SKIMethod uint8

// The methods. What is hashed is the value of the BIT STRING subjectPublicKey,
// without tag, length and number of unused bits.
const (
	SKIOther  SKIMethod = 0 // by none of these, or there is none
	SKISHA1   SKIMethod = 1 // SHA-1 (RFC 5280 section 4.2.1.2 method 1)
	SKISHA256 SKIMethod = 2 // first 20 bytes of SHA-256 (RFC 7093 section 2 method 1)
)

// SigAlg names a signature algorithm. Values are those of certs.sig_alg.
type SigAlg uint8

// The signature algorithms.
const (
	SigUnknown     SigAlg = 0
	SigMD5RSA      SigAlg = 1
	SigSHA1RSA     SigAlg = 2
	SigSHA256RSA   SigAlg = 3
	SigSHA384RSA   SigAlg = 4
	SigSHA512RSA   SigAlg = 5
	SigRSAPSS      SigAlg = 6
	SigSHA1ECDSA   SigAlg = 7
	SigSHA256ECDSA SigAlg = 8
	SigSHA384ECDSA SigAlg = 9
	SigSHA512ECDSA SigAlg = 10
	SigEd25519     SigAlg = 11
	SigEd448       SigAlg = 12
	SigMLDSA       SigAlg = 13
	SigDSA         SigAlg = 14
	SigMD2RSA      SigAlg = 15
	SigSHA224ECDSA SigAlg = 16
	SigOther       SigAlg = 255 // see Row.SigOID
)

// Issuer is a chain certificate, stored once whatever the number of entries
// that refer to it: one row of table issuers.
type Issuer struct {
	Fingerprint  Hash // SHA-256(DER)
	SPKI         Hash // SHA-256 of the SubjectPublicKeyInfo: the issuer key hash
	Subject      Name
	IssuerName   Name
	NotBefore    int64
	NotAfter     int64
	SKI          []byte
	IsCA         bool
	DER          []byte
	Error        string // why it could not be read, empty if it could
	SelfSigned   bool
	PrecertSigns bool // carries EKU 1.3.6.1.4.1.11129.2.4.4: a Precertificate Signing Certificate
}

// Log is one row of table logs.
type Log struct {
	ID       Hash // SHA-256 of the log's public key
	Name     string
	Operator string
	URL      string
	Kind     string // "rfc6962" or "static"

	// Progress, as last verified. Only moves forward.

	HeadSize      uint64 // newest signed tree size
	HeadTime      uint64 // milliseconds since 1970
	HeadRoot      Hash
	VerifiedFrom  uint64 // the log is verified over [VerifiedFrom, VerifiedTo)
	VerifiedTo    uint64
	StoppedReason string // why it is halted, empty while it is well
}

// ShortID is the 64-bit id that the tables carry: the first 8 bytes of a hash,
// big endian.
func ShortID(h Hash) uint64 {
	var id uint64
	for _, b := range h[:8] {
		id = id<<8 | uint64(b)
	}
	return id
}
