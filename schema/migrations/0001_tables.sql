-- The tables of schema version 1. {db} stands for the quoted database name.
--
-- A statement is preceded by the condition that makes it unnecessary:
--   -- unless <database|table|view|column|index> <name>
-- or by "-- always" if doing it again changes nothing.
--
-- Every table syncs what it writes (fsync_*): a row of the ledger must not
-- outlive the rows that it stands for. The store reads these settings back and
-- refuses to work on tables that lack them.

-- unless database
CREATE DATABASE {db}
ENGINE = Atomic
COMMENT 'Certificate Transparency logs, written by ctappliance. Start with the views certificates, entries and log_status.';

-- unless table ledger
CREATE TABLE {db}.ledger
(
    log_id     UInt64 COMMENT 'the log: first 8 bytes of the log ID, big endian; see logs.id' CODEC(DoubleDelta, LZ4),
    idx        UInt64 COMMENT 'position of the entry in its log' CODEC(DoubleDelta, LZ4),
    ts         DateTime64(3, 'UTC') COMMENT 'timestamp of the leaf: when the log took the entry in' CODEC(Delta, ZSTD(1)),
    entry_type Enum8('x509' = 0, 'precert' = 1, 'unknown' = 2) COMMENT 'RFC 6962 section 3.4: final certificate or precertificate; unknown: a kind of leaf this version does not know' CODEC(T64('bit')),
    status     Enum8('ok' = 0, 'odd' = 1, 'partial' = 2, 'refused' = 3, 'oversize' = 4) COMMENT 'how far the certificate could be read; all but ok have a row in problems' CODEC(ZSTD(1)),
    tbs_id     FixedString(16) COMMENT 'the certificate: first 16 bytes of SHA-256(issuer key hash, TBS less poison and SCT list), the same for a precertificate and its final certificate; see certs.tbs_id. Hash of the leaf if it could not be read' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (log_id, idx)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'One row per log entry, exactly once';

-- unless table certs
CREATE TABLE {db}.certs
(
    tbs_id         SimpleAggregateFunction(any, FixedString(16)) COMMENT 'identity: pairs a precertificate with its final certificate; see ledger.tbs_id' CODEC(NONE),
    not_after      DateTime64(0, 'UTC') COMMENT 'end of validity' CODEC(T64, ZSTD(1)),
    validity       SimpleAggregateFunction(any, Int64) COMMENT 'not_after - not_before, seconds' CODEC(ZSTD(1)),
    seen           SimpleAggregateFunction(groupBitOr, UInt8) COMMENT 'bits: 1 final certificate, 2 precertificate, 4 final with poison extension, 8 precertificate without, 16 other kind of leaf' CODEC(ZSTD(1)),
    sha256         SimpleAggregateFunction(max, FixedString(32)) COMMENT 'SHA-256 of the final certificate; zero until it is seen' CODEC(ZSTD(1)),
    pre_sha16      SimpleAggregateFunction(max, FixedString(16)) COMMENT 'first 16 bytes of the SHA-256 of the precertificate as submitted; zero until it is seen' CODEC(ZSTD(1)),
    serial         SimpleAggregateFunction(any, String) COMMENT 'serial number, content octets of the INTEGER' CODEC(ZSTD(1)),
    profile_id     SimpleAggregateFunction(max, UInt64) COMMENT 'profiles.id of the final certificate; 0 until it is seen' CODEC(ZSTD(1)),
    pre_profile_id SimpleAggregateFunction(max, UInt64) COMMENT 'profiles.id of the precertificate; 0 until it is seen' CODEC(ZSTD(1)),
    key_alg        SimpleAggregateFunction(any, UInt8) COMMENT 'public key: 0 unknown, 1 RSA, 2 EC, 3 Ed25519, 4 Ed448, 5 DSA, 6 ML-DSA, 7 other (see key_oid)' CODEC(ZSTD(1)),
    key_bits       SimpleAggregateFunction(any, UInt16) COMMENT 'size of modulus or field in bits; 0 if unknown' CODEC(ZSTD(1)),
    key_oid        SimpleAggregateFunction(any, String) COMMENT 'OID of the key algorithm, for EC of the curve; empty where it follows from key_alg and key_bits' CODEC(ZSTD(1)),
    spki16         SimpleAggregateFunction(any, FixedString(16)) COMMENT 'first 16 bytes of the SHA-256 of the SubjectPublicKeyInfo' CODEC(NONE),
    ski            SimpleAggregateFunction(any, String) COMMENT 'subject key identifier; empty where ski_of_key' CODEC(ZSTD(1)),
    ski_of_key     SimpleAggregateFunction(any, Bool) COMMENT 'the subject key identifier is the SHA-1 of the key (RFC 5280 section 4.2.1.2 method 1)' CODEC(ZSTD(1)),
    flags          SimpleAggregateFunction(groupBitOr, UInt64) COMMENT 'what the parser found odd, one bit each; 0 for a clean certificate' CODEC(ZSTD(1)),
    parser_version SimpleAggregateFunction(max, UInt16) COMMENT 'version of the parser' CODEC(ZSTD(1)),
    subject_form   SimpleAggregateFunction(any, UInt8) COMMENT '0: subject, subject_text and subject_der as stored; 1, 2: the subject is CN=names[1] as PrintableString, UTF8String and they are empty; 3: the subject is the empty sequence' CODEC(ZSTD(1)),
    subject        SimpleAggregateFunction(any, Array(Tuple(attr Enum8('CN' = 1, 'O' = 2, 'OU' = 3, 'C' = 4, 'L' = 5, 'ST' = 6, 'serialNumber' = 7, 'email' = 8), value String))) COMMENT 'attributes of the subject, each kind in order of appearance; see subject_form' CODEC(ZSTD(1)),
    subject_text   SimpleAggregateFunction(any, String) COMMENT 'the whole subject in RFC 4514 form; see subject_form' CODEC(ZSTD(1)),
    subject_der    SimpleAggregateFunction(any, String) COMMENT 'DER of the subject; see subject_form' CODEC(ZSTD(1)),
    names          SimpleAggregateFunction(any, Array(String)) COMMENT 'subject alternative names of kind dNSName, bytes as they are' CODEC(ZSTD(3)),
    sans           SimpleAggregateFunction(any, Array(Tuple(kind Enum8('other' = 0, 'email' = 1, 'uri' = 6, 'ip' = 7), tag UInt8, value String))) COMMENT 'the other subject alternative names; tag is the GeneralName tag number, 255 if its class was wrong; an ip is 4 or 16 bytes' CODEC(ZSTD(1)),
    sans_unlisted  SimpleAggregateFunction(any, Int64) COMMENT 'subject alternative names beyond those in names and sans' CODEC(ZSTD(1)),
    scts           SimpleAggregateFunction(max, Array(Tuple(log_id FixedString(32), ts UInt64))) COMMENT 'embedded SCTs of the final certificate: log ID and milliseconds since 1970' CODEC(ZSTD(1)),
    tbs8           UInt64 ALIAS reinterpretAsUInt64(substring(tbs_id, 1, 8)) COMMENT 'first 8 bytes of tbs_id, little endian, as in name_certs',
    not_before     DateTime64(0, 'UTC') ALIAS not_after - toIntervalSecond(validity) COMMENT 'start of validity',
    INDEX i_sha256 lower(hex(sha256)) TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX i_serial lower(hex(serial)) TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX i_spki lower(hex(spki16)) TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(not_after)
PRIMARY KEY reinterpretAsUInt64(substring(tbs_id, 1, 8))
ORDER BY (reinterpretAsUInt64(substring(tbs_id, 1, 8)), substring(tbs_id, 9, 8), not_after)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'One row per certificate once merged: the rows of a precertificate and its final certificate fold into one. The view certificates folds at once and spells everything out';

-- unless table profiles
CREATE TABLE {db}.profiles
(
    id                UInt64 COMMENT 'first 8 bytes, big endian, of SHA-256 over all the other columns',
    version           UInt8 COMMENT 'X.509 version: 1, 2, 3',
    issuer_key_hash   FixedString(32) COMMENT 'SHA-256 of the issuer''s SubjectPublicKeyInfo; zero if unknown',
    chain             Array(FixedString(32)) COMMENT 'SHA-256 of the chain certificates it came with, issuer first; see issuers.sha256. The log does not vouch for them',
    issuer_cns        Array(String) COMMENT 'common names of the issuer',
    issuer_orgs       Array(String) COMMENT 'organizations of the issuer',
    issuer_units      Array(String) COMMENT 'organizational units of the issuer',
    issuer_countries  Array(String) COMMENT 'countries of the issuer',
    issuer_localities Array(String) COMMENT 'localities of the issuer',
    issuer_provinces  Array(String) COMMENT 'states or provinces of the issuer',
    issuer_serials    Array(String) COMMENT 'serialNumber attributes of the issuer',
    issuer_emails     Array(String) COMMENT 'e-mail addresses in the issuer''s name',
    issuer_text       String COMMENT 'the issuer''s whole name in RFC 4514 form',
    issuer_der        String COMMENT 'DER of the issuer''s name',
    sig_alg           UInt8 COMMENT 'signature: 1 MD5-RSA, 2 SHA1-RSA, 3 SHA256-RSA, 4 SHA384-RSA, 5 SHA512-RSA, 6 RSA-PSS, 7 SHA1-ECDSA, 8 SHA256-ECDSA, 9 SHA384-ECDSA, 10 SHA512-ECDSA, 11 Ed25519, 12 Ed448, 13 ML-DSA, 14 DSA, 15 MD2-RSA, 16 SHA224-ECDSA, 255 other (see sig_oid)',
    sig_oid           String COMMENT 'OID of the inner signature algorithm',
    key_usage         UInt16 COMMENT 'bit i is KeyUsage bit i of RFC 5280 section 4.2.1.3',
    ext_key_usages    Array(String) COMMENT 'extended key usages, OIDs',
    policies          Array(String) COMMENT 'certificate policies, OIDs',
    validation        Enum8('unknown' = 0, 'DV' = 1, 'OV' = 2, 'IV' = 3, 'EV' = 4) COMMENT 'validation level that the policies claim',
    is_ca             Bool COMMENT 'basicConstraints cA',
    path_len          Int16 COMMENT 'pathLenConstraint; -1 if absent',
    aki               String COMMENT 'authority key identifier',
    ocsp              Array(String) COMMENT 'OCSP responders, URLs',
    ca_issuers        Array(String) COMMENT 'where the issuer''s certificate is, URLs',
    crls              Array(String) COMMENT 'CRL distribution points, URLs',
    extensions        Array(String) COMMENT 'all extensions in order of appearance, OIDs'
)
ENGINE = ReplacingMergeTree
ORDER BY id
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'What certificates of one issuer have in common, once per combination';

-- unless table name_certs
CREATE TABLE {db}.name_certs
(
    rname      String COMMENT 'DNS name reversed: com.example.www. ; lower case, trailing dot, *. cut off. A domain and all below it: rname >= ''com.example.'' AND rname < ''com.example/''' CODEC(ZSTD(3)),
    wildcard   Bool COMMENT 'the name began with *.' CODEC(ZSTD(1)),
    not_before DateTime('UTC') COMMENT 'start of validity, held to 1970-2106; exact in certs' CODEC(Delta, ZSTD(1)),
    validity   UInt32 COMMENT 'seconds, held to 0..2^32-1; exact in certs' CODEC(ZSTD(1)),
    issuer_id  UInt64 COMMENT 'first 8 bytes, big endian, of the issuer key hash; 0 if unknown' CODEC(ZSTD(1)),
    tbs8       UInt64 COMMENT 'first 8 bytes of certs.tbs_id, little endian; see certs.tbs8' CODEC(NONE)
)
ENGINE = ReplacingMergeTree
ORDER BY (rname, not_before, tbs8, wildcard)
SETTINGS index_granularity = 2048, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'Which certificates a DNS name is in: common names and dNSNames';

-- unless table names
CREATE TABLE {db}.names
(
    rname         String COMMENT 'DNS name reversed, as in name_certs' CODEC(ZSTD(1)),
    wildcard      Bool COMMENT 'the name began with *.' CODEC(ZSTD(1)),
    first_seen    SimpleAggregateFunction(min, DateTime('UTC')) COMMENT 'earliest timestamp of a log entry with the name, to about a day' CODEC(T64, ZSTD(1)),
    last_seen     SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'latest timestamp of a log entry with the name, to about a day' CODEC(T64, ZSTD(1)),
    max_not_after SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'when the last certificate with the name ends, held to 1970-2106' CODEC(T64, ZSTD(1)),
    INDEX words rname TYPE text(tokenizer = 'splitByNonAlpha')
)
ENGINE = AggregatingMergeTree
ORDER BY (rname, wildcard)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'Every DNS name once (once merged; until then GROUP BY rname, wildcard). A word in it: hasAllTokens(rname, ''word'')';

-- unless table issuers
CREATE TABLE {db}.issuers
(
    sha256        FixedString(32) COMMENT 'SHA-256 of the certificate',
    spki_sha256   FixedString(32) COMMENT 'SHA-256 of its SubjectPublicKeyInfo: the issuer key hash of what it signs',
    cns           Array(String) COMMENT 'common names of the subject',
    orgs          Array(String) COMMENT 'organizations of the subject',
    units         Array(String) COMMENT 'organizational units of the subject',
    countries     Array(String) COMMENT 'countries of the subject',
    localities    Array(String) COMMENT 'localities of the subject',
    provinces     Array(String) COMMENT 'states or provinces of the subject',
    serials       Array(String) COMMENT 'serialNumber attributes of the subject',
    emails        Array(String) COMMENT 'e-mail addresses in the subject',
    name          String COMMENT 'the whole subject in RFC 4514 form',
    name_der      String COMMENT 'DER of the subject',
    issuer_cns        Array(String) COMMENT 'common names of the issuer',
    issuer_orgs       Array(String) COMMENT 'organizations of the issuer',
    issuer_units      Array(String) COMMENT 'organizational units of the issuer',
    issuer_countries  Array(String) COMMENT 'countries of the issuer',
    issuer_localities Array(String) COMMENT 'localities of the issuer',
    issuer_provinces  Array(String) COMMENT 'states or provinces of the issuer',
    issuer_serials    Array(String) COMMENT 'serialNumber attributes of the issuer',
    issuer_emails     Array(String) COMMENT 'e-mail addresses in the issuer''s name',
    issuer_name       String COMMENT 'the issuer''s whole name in RFC 4514 form',
    issuer_der        String COMMENT 'DER of the issuer''s name',
    not_before    DateTime64(0, 'UTC') COMMENT 'start of validity',
    not_after     DateTime64(0, 'UTC') COMMENT 'end of validity',
    ski           String COMMENT 'subject key identifier',
    is_ca         Bool COMMENT 'basicConstraints cA',
    self_signed   Bool COMMENT 'its subject is its issuer: a root',
    precert_signs Bool COMMENT 'a Precertificate Signing Certificate (RFC 6962 section 3.1)',
    der           String COMMENT 'the certificate' CODEC(ZSTD(6)),
    error         String COMMENT 'why it could not be read; empty if it could'
)
ENGINE = ReplacingMergeTree
ORDER BY sha256
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'Chain certificates, whole. Logs do not vouch for them';

-- unless table logs
CREATE TABLE {db}.logs
(
    id             UInt64 COMMENT 'first 8 bytes of the log ID, big endian',
    log_id         FixedString(32) COMMENT 'the log ID: SHA-256 of the log''s public key',
    name           String COMMENT 'what the log list or the user calls it',
    operator       String COMMENT 'who runs it',
    url            String COMMENT 'where it is read from',
    kind           String COMMENT 'protocol: rfc6962 or static',
    head_size      UInt64 COMMENT 'newest signed tree size',
    head_ts        DateTime64(3, 'UTC') COMMENT 'when the log signed it',
    head_root      FixedString(32) COMMENT 'its root hash',
    verified_from  UInt64 COMMENT 'the log is verified over [verified_from, verified_to)',
    verified_to    UInt64 COMMENT 'see verified_from',
    stopped_reason String COMMENT 'why the log is halted; empty while it is well',
    updated        UInt64 COMMENT 'the row with the highest value counts: milliseconds since 1970 of the writer''s clock, made to rise'
)
ENGINE = ReplacingMergeTree(updated)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'The logs and how far each is verified. Read it FINAL, or the view log_status';

-- unless table problems
CREATE TABLE {db}.problems
(
    tbs_id          FixedString(16) COMMENT 'as in the ledger',
    sha256          FixedString(32) COMMENT 'SHA-256 of der',
    log_id          UInt64 COMMENT 'as in the ledger',
    idx             UInt64 COMMENT 'as in the ledger',
    ts              DateTime64(3, 'UTC') COMMENT 'as in the ledger' CODEC(Delta, ZSTD(1)),
    entry_type      Enum8('x509' = 0, 'precert' = 1, 'unknown' = 2) COMMENT 'as in the ledger',
    status          Enum8('ok' = 0, 'odd' = 1, 'partial' = 2, 'refused' = 3, 'oversize' = 4) COMMENT 'as in the ledger; never ok',
    flags           UInt64 COMMENT 'what the parser found odd, one bit each',
    error           String COMMENT 'why it could not be read, in words' CODEC(ZSTD(3)),
    parser_version  UInt16 COMMENT 'version of the parser',
    issuer_key_hash FixedString(32) COMMENT 'SHA-256 of the issuer''s SubjectPublicKeyInfo; zero if unknown',
    chain           Array(FixedString(32)) COMMENT 'SHA-256 of the chain certificates, issuer first' CODEC(ZSTD(3)),
    leaf            String COMMENT 'the MerkleTreeLeaf, RFC 6962 section 3.4' CODEC(ZSTD(6)),
    der             String COMMENT 'the certificate or precertificate as submitted' CODEC(ZSTD(6)),
    INDEX i_idx idx TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (tbs_id, sha256, log_id, idx)
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'Every entry whose status is not ok, with its bytes';

-- unless table der
CREATE TABLE {db}.der
(
    tbs_id     FixedString(16) COMMENT 'as in certs',
    sha256     FixedString(32) COMMENT 'SHA-256 of der',
    entry_type Enum8('x509' = 0, 'precert' = 1, 'unknown' = 2) COMMENT 'final certificate or precertificate',
    der        String COMMENT 'the certificate or precertificate as submitted' CODEC(ZSTD(6))
)
ENGINE = ReplacingMergeTree
ORDER BY (tbs_id, sha256)
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'The bytes of every certificate; empty unless the store is told to keep them';

-- unless table meta
CREATE TABLE {db}.meta
(
    key     String COMMENT 'schema_version, writer_id, created, migration/<file>',
    value   String COMMENT 'its value',
    updated DateTime64(3, 'UTC') COMMENT 'when it was written'
)
ENGINE = ReplacingMergeTree(updated)
ORDER BY key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 480
COMMENT 'What ctappliance must know of this database. Read it FINAL';
