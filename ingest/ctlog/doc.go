// Package ctlog reads Certificate Transparency logs by either protocol, RFC
// 6962 section 4 and c2sp.org/static-ct-api, behind one interface, [Log].
//
// It promises that a [Head] was signed by the log's key, that a [Frontier] it
// returns is proven from such a head, and that entries come with the indices
// they were asked for. It does not prove entries: whoever appends their leaf
// hashes to a frontier and meets a head's root has done so.
//
// # What is authenticated
//
//	Head                        signature by the log's key (the origin line of a checkpoint is not signed)
//	Frontier                    hash tiles, or proofs, up to a head's root
//	Entry.Leaf                  by appending LeafHash(Leaf) to a frontier
//	Entry.Precert, Entry.Chain  not at all; Log.Issuer checks the hash that it was asked for
//
// # Entries
//
// Leaf is the MerkleTreeLeaf byte for byte (RFC 6962 section 3.4):
//
//	 0  u8   version 0
//	 1  u8   leaf_type 0
//	 2  u64  timestamp, milliseconds since 1970
//	10  u16  entry_type: 0 x509_entry, 1 precert_entry
//	12       x509_entry: certificate<24>; precert_entry: issuer_key_hash[32], TBSCertificate<24>
//	         extensions<16>: empty, or leaf_index of a static log
//
// A static log's tile leaves the first two bytes out; they are put back.
// Leaves of unknown kinds are passed on: they hash into the tree all the same.
//
// RFC 6962 logs that serve tiles too give full tiles that way. [ProbeTiles]
// finds out; Info.TileURL says so. Tiles are compared with get-entries now and
// then, and where they fail three times, or hold something else, entries come
// by get-entries for a minute and more (up to six hours), see [TilesPaused].
//
// # Archives
//
// A log that has ended may live on as static tiles. New reads them where
// Info.URL is one of these, whatever protocol the log spoke:
//
//	file:///dir/           with checkpoint, tile/<L>/<N>, tile/data/<N>, issuer/<SHA-256>
//	file:///dir/           with zips of that: 000.zip, 001.zip …, as photocamera-archiver
//	                       (filippo.io/sunlight) makes them, or zips with other names
//	file:///dir/a.zip      one zip; a number for a name stands for all beside it
//	https://host/a.zip     the same, by Range requests of 2 MiB, each with its turn of the Pacer
//	https://host/dir/      with Options.Archive: a tile directory, by plain GETs
//
// Zip n of a numbered set holds entries [2^24·n, 2^24·(n+1)), and each what is
// of the whole log. Folders in front, inside a zip, do not matter. Nothing
// outside of the archive is read. file: needs Options.AllowFile, which only
// the user's own configuration may set off. What is deflated in a zip comes as
// a gzip tile, with the same bytes.
//
// The head is the archive's checkpoint, or get-sth.json (also ct/v1/get-sth),
// signed by the log's key. Where there is neither, it is what Info says of the
// log's end, if log.v3.json does not say otherwise: an unsigned root is no head
// of its own. Hash tiles that are missing are computed from the entries, from
// up to 8192 tiles for a frontier. A tile that is missing is ErrNotYet with its
// name and the name of the zip that lacks it.
//
//	zips open at a time            3, with 4 MB of directory each
//	files of a zip, directory      1 Mi, 128 MiB
//	zips of a directory            10,000
//	blocks of a zip over https     8, 16 MiB
//
// # Dates
//
// [IndexAt] finds where a date begins, by a request per halving.
//
// # Requests
//
// Every request takes a slot from the [Pacer] and reports one [Outcome]. None
// is repeated: patience is the caller's. The exceptions ask for something
// else: half the entries when an answer was too large, and the full tile when
// a partial one is gone. Redirects are not followed, but for zips: up to four,
// to https. Only public addresses are connected to (see [NewTransport]).
//
//	answer                              limit, after decompression
//	get-sth, checkpoint                 64 KiB
//	get-entries, tile/data,
//	get-entry-and-proof                 Options.MaxBody, 64 MiB
//	get-sth-consistency, hash tile      64 KiB
//	issuer                              1 MiB
//
// # Errors
//
//	*StatusError        status other than 200, with Retry-After
//	*AnswerError        status 200, but not an answer; also reported to the Pacer
//	*VerifyError        an answer that proves nothing, or the opposite: evidence
//	ErrNotYet           covered by a signed head, but not served at present (with its *StatusError)
//	ErrTooLarge         more bytes than the limit
//	ErrPrivateAddress   the host's address is not public
//	ErrFileURL          a file: URL that the options do not allow
//	ErrNoTiles          ProbeTiles found none
//
// What errors repeat of a stranger's bytes is quoted to printable ASCII and
// has at most 200 bytes.
//
// # Memory
//
// The bytes of a batch's entries lie in its [Memory], which its owner may give
// back when nothing refers to them any more, for other batches.
//
// # Limits
//
// Trees of up to 2^56 entries; chains of up to 64 certificates (a longer one
// is kept undecoded in Entry.Extra); 100 signature lines in a checkpoint; log
// lists of 16 MiB.
package ctlog
