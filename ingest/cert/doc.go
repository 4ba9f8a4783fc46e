// Package cert turns the bytes of a log entry into a row: pure functions, with
// one promise. Whatever the bytes are, [Parse] returns, and the row that it
// fills says what the entry is.
//
// # How much is read
//
// The certificates in logs were accepted by a more lenient parser than any
// strict one, and some were made to hide from monitors. So this is no
// validator. It walks the known structure of a certificate (RFC 5280 section
// 4.1) by offsets into the input, takes what it finds, and notes in
// Row.Flags ([Flag]) what a strict reader would refuse. Extensions are read
// one by one: a malformed one costs its own column and never the core ones.
//
//	status    what it means
//	ok        every column is filled, nothing was odd
//	odd       every column is filled; Flags says what was odd
//	partial   some column could not be filled; Error names the first
//	refused   no TBSCertificate with a serial number was found, or the leaf is
//	          of an unknown kind; Row.Leaf has the bytes, Error the reason
//	oversize  larger than [MaxCertificate]; not parsed
//
// Nearly all certificates look alike. Those are read by short ways (plain.go, and
// the beginnings of functions), which leave whatever is not as usual to the
// general ones. Those alone would give the same rows, only more slowly.
//
// Errors are constant strings: nothing from the entry gets into them.
//
// # Where columns come from
//
// Of a precert_entry the tree authenticates the leaf's TBSCertificate only,
// so the columns are read from there. DER, Fingerprint and Poison are those of
// the submitted precertificate, which is checked to be the same but for its
// poison (RFC 6962 section 3.2); if not, TBSDiffers is set. That is normal for
// one issued by a Precertificate Signing Certificate.
//
// Row.TBSID is the first 16 bytes of
//
//	SHA-256(issuer_key_hash[32] | TBSCertificate without poison and SCT list)
//
// and thus the same for a precertificate and the certificate it became. The
// TBSCertificate is taken byte for byte, but that the lengths of the three
// elements around the extensions are written in DER, and that a
// GeneralizedTime of 1950 to 2049 is written as UTCTime, which logs do when
// they make a leaf out of a precertificate. A list that loses its last
// extension stays as an empty list, which again is what logs do. An entry whose
// TBSCertificate is not found has the first 16 bytes of SHA-256(leaf).
//
// Logs also leave out a "critical" that is present and FALSE, which DER
// forbids; the certificate of such a precertificate has another TBSID.
//
// # Text
//
// Names are text: UTF8String, PrintableString, IA5String, NumericString and
// VisibleString as they are; TeletexString as Latin-1, BMPString as UTF-16,
// UniversalString as UTF-32. Bytes that do not fit their type are taken as
// UTF-8 if they are valid UTF-8, else as Latin-1, and flagged: the text is
// always valid UTF-8 and no byte is lost. Name.Text follows RFC 4514.
// Alternative names and URLs are bytes as they are, whatever they are.
//
// # Hashes
//
// Up to four messages of an entry are hashed with SHA-256: the fourth is the
// octets of its key, of which nearly every subject key identifier is the first 20
// bytes (RFC 7093 section 2 method 1). Where one could be the SHA-1 of them, that
// is asked for too (RFC 5280 section 4.2.1.2 method 1). Hashing the messages of many
// entries together takes half the time of one entry after the other: [Batch].
// [Parse] is a batch of one.
//
// # Memory
//
// An ordinary entry allocates nothing: the strings and lists of rows are cut
// from pieces of 8 KiB that neighbouring rows share, and a piece lives as long
// as any of them. So a row that is kept for long holds on to some 16 KiB; what
// [ParseIssuer] returns shares nothing with rows. A parser remembers what it
// made of issuer names, of the values of extensions that one issuer's
// certificates have in common, and of the order of extensions: up to a few
// hundred of each, small ones only. Flags are remembered with names; values that
// gave any are read again each time.
//
// # Limits
//
//	certificate, TBSCertificate   1 MiB, else not parsed
//	subject alternative names     10,000 listed, all counted in Row.SANCount
//	distinguished name            256 attributes, 16 KiB per value, 64 KiB as text
//	extensions                    256 OIDs listed, all read
//	policies, key usages          128 each
//	URLs                          64 per kind, 8 KiB each
//	SCTs                          64
//	nesting                       32 indefinite lengths; else that of the structure
//
// Time and memory grow linearly with the bytes of the entry. Signatures, name
// constraints, EC points and paths are not checked.
package cert
