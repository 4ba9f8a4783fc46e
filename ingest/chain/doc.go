// Package chain keeps chain certificates, each once, by SHA-256.
//
// # Promise
//
// When Add returns nil, the certificates survive kill -9 and power loss. A WAL
// record that refers to a certificate is written after that, so a record that
// can be read finds its chain.
//
// # File
//
// One append-only file, chains.bin, of frames:
//
//	0  u32  length of the certificate, big endian, 1 to 16 MiB
//	4  u32  CRC-32C of the certificate
//	8  ...  DER
//
// Recovery reads the file once and keeps an index in memory. Reading stops at
// the first frame that is not whole; what lies behind the last whole frame is
// overwritten by the next Add if nothing whole follows it (a torn tail), else
// the file is set aside as chains.bin.damaged-<unix time> and what could be
// read of it, on both sides of the damage, is copied to a new one.
//
// # Limits
//
// Chains are not authenticated by a log's tree, so anyone who can submit to a
// log can make it send new ones. [Store.Add] takes at most a number of new
// certificates per log and day and says which it left out; the caller keeps
// those inline. The index costs about 100 bytes of memory a certificate.
package chain
