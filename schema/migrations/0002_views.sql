-- The views that people query. They hold no data and are replaced whenever
-- this file changes.

-- always
CREATE OR REPLACE VIEW {db}.certificates
(
    id String COMMENT 'tbs_id in hexadecimal',
    tbs_id FixedString(16) COMMENT 'identity; pairs a precertificate with its final certificate. tbs_id = unhex(''...'') is a key look-up',
    common_name String COMMENT 'first common name of the subject; empty if there is none',
    names Array(String) COMMENT 'DNS names. To find a name use certificates_for_domain',
    ips Array(String) COMMENT 'IP addresses, as text',
    emails Array(String) COMMENT 'e-mail addresses among the subject alternative names',
    uris Array(String) COMMENT 'URIs among the subject alternative names',
    other_names Array(Tuple(tag UInt8, value String)) COMMENT 'other or malformed subject alternative names: GeneralName tag and content octets',
    san_count Int64 COMMENT 'subject alternative names there are; names beyond a limit are not listed',
    issuer_cn String COMMENT 'first common name of the issuer',
    issuer_org String COMMENT 'first organization of the issuer',
    issuer_country String COMMENT 'first country of the issuer',
    issuer String COMMENT 'the issuer''s whole name, RFC 4514 form',
    issuer_key_hash String COMMENT 'SHA-256 of the issuer''s public key, hexadecimal',
    not_before DateTime64(0, 'UTC') COMMENT 'start of validity',
    not_after DateTime64(0, 'UTC') COMMENT 'end of validity',
    serial_number String COMMENT 'serial number, hexadecimal, every octet; indexed',
    sha256 String COMMENT 'SHA-256 of the final certificate, hexadecimal; all 0 until it is seen; indexed',
    precert_sha256_prefix String COMMENT 'first 16 bytes of the SHA-256 of the precertificate, hexadecimal; all 0 until it is seen',
    has_final Bool COMMENT 'a final certificate was logged',
    has_precert Bool COMMENT 'a precertificate was logged',
    key_type String COMMENT 'public key, e.g. RSA 2048, EC P-256',
    key_bits UInt16 COMMENT 'size of modulus or field in bits; 0 if unknown',
    spki_sha256_prefix String COMMENT 'first 16 bytes of the SHA-256 of the public key, hexadecimal; indexed',
    signature String COMMENT 'signature algorithm, e.g. SHA256-RSA',
    validation String COMMENT 'DV, OV, IV, EV or unknown: what the policies claim',
    key_usages Array(String) COMMENT 'key usages, RFC 5280 names',
    ext_key_usages Array(String) COMMENT 'extended key usages: well-known ones by name, others as OID',
    policies Array(String) COMMENT 'certificate policies, OIDs',
    is_ca Bool COMMENT 'basicConstraints cA',
    path_len Int16 COMMENT 'pathLenConstraint; -1 if absent',
    subject String COMMENT 'the whole subject, RFC 4514 form',
    subject_common_names Array(String) COMMENT 'all common names of the subject',
    subject_organizations Array(String) COMMENT 'organizations of the subject',
    subject_units Array(String) COMMENT 'organizational units of the subject',
    subject_countries Array(String) COMMENT 'countries of the subject',
    subject_localities Array(String) COMMENT 'localities of the subject',
    subject_provinces Array(String) COMMENT 'states or provinces of the subject',
    subject_serial_numbers Array(String) COMMENT 'serialNumber attributes of the subject, e.g. company registration numbers',
    subject_emails Array(String) COMMENT 'e-mail addresses in the subject',
    subject_key_id String COMMENT 'subject key identifier, hexadecimal; empty where it follows from the key, which is not stored: see subject_key_id_method',
    subject_key_id_method String COMMENT 'how the subject key identifier follows from the octets of the key: SHA-1 (RFC 5280 section 4.2.1.2), SHA-256 (its first 20 bytes, RFC 7093 section 2); empty where there is none, or subject_key_id has it',
    authority_key_id String COMMENT 'authority key identifier, hexadecimal',
    scts Array(Tuple(log_id String, ts DateTime64(3, 'UTC'))) COMMENT 'embedded SCTs: log ID in hexadecimal and timestamp',
    ocsp Array(String) COMMENT 'OCSP responders, URLs',
    ca_issuers Array(String) COMMENT 'where the issuer''s certificate is, URLs',
    crls Array(String) COMMENT 'CRL distribution points, URLs',
    extensions Array(String) COMMENT 'all extensions in order of appearance, OIDs',
    chain Array(String) COMMENT 'SHA-256 of the chain certificates, hexadecimal, issuer first; see table issuers',
    version UInt8 COMMENT 'X.509 version',
    flags UInt64 COMMENT 'what the parser found odd, one bit each',
    tbs10 FixedString(10) COMMENT 'first 10 bytes of tbs_id, by which entries refer to certificates',
    tbs8 UInt64 COMMENT 'first 8 bytes of tbs_id, little endian: tbs8 IN (SELECT tbs8 FROM name_certs WHERE ...) is a key look-up'
)
AS SELECT
    lower(hex(c.tbs_id)) AS id,
    c.tbs_id AS tbs_id,
    if(c.subject_form IN (1, 2), c.names[1], arrayFirst(x -> x.1 = 'CN', c.subject).2) AS common_name,
    c.names AS names,
    arrayMap(x -> if(length(x.3) = 4, IPv4NumToString(reinterpret(reverse(x.3), 'UInt32')), IPv6NumToString(toFixedString(x.3, 16))), arrayFilter(x -> x.1 = 'ip' AND length(x.3) IN (4, 16), c.sans)) AS ips,
    arrayMap(x -> x.3, arrayFilter(x -> x.1 = 'email', c.sans)) AS emails,
    arrayMap(x -> x.3, arrayFilter(x -> x.1 = 'uri', c.sans)) AS uris,
    arrayMap(x -> (x.2, x.3), arrayFilter(x -> x.1 = 'other', c.sans)) AS other_names,
    toInt64(length(c.names) + length(c.sans)) + c.sans_unlisted AS san_count,
    p.issuer_cns[1] AS issuer_cn,
    p.issuer_orgs[1] AS issuer_org,
    p.issuer_countries[1] AS issuer_country,
    p.issuer_text AS issuer,
    if(p.id = 0, '', lower(hex(p.issuer_key_hash))) AS issuer_key_hash,
    c.not_before AS not_before,
    c.not_after AS not_after,
    lower(hex(c.serial)) AS serial_number,
    lower(hex(c.sha256)) AS sha256,
    lower(hex(c.pre_sha16)) AS precert_sha256_prefix,
    CAST(bitAnd(c.seen, 5) != 0, 'Bool') AS has_final,
    CAST(bitAnd(c.seen, 10) != 0, 'Bool') AS has_precert,
    multiIf(
        c.key_alg = 1, concat('RSA ', toString(c.key_bits)),
        c.key_alg = 2, multiIf(c.key_oid = '', concat('EC P-', toString(c.key_bits)), concat('EC ', c.key_oid)),
        c.key_alg = 3, 'Ed25519',
        c.key_alg = 4, 'Ed448',
        c.key_alg = 5, concat('DSA ', toString(c.key_bits)),
        c.key_alg = 6, 'ML-DSA',
        c.key_oid != '', c.key_oid,
        'unknown') AS key_type,
    c.key_bits AS key_bits,
    lower(hex(c.spki16)) AS spki_sha256_prefix,
    if(p.sig_alg = 255, p.sig_oid, transform(p.sig_alg, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], ['MD5-RSA', 'SHA1-RSA', 'SHA256-RSA', 'SHA384-RSA', 'SHA512-RSA', 'RSA-PSS', 'SHA1-ECDSA', 'SHA256-ECDSA', 'SHA384-ECDSA', 'SHA512-ECDSA', 'Ed25519', 'Ed448', 'ML-DSA', 'DSA', 'MD2-RSA', 'SHA224-ECDSA'], 'unknown')) AS signature,
    toString(p.validation) AS validation,
    arrayMap(i -> ['digitalSignature', 'nonRepudiation', 'keyEncipherment', 'dataEncipherment', 'keyAgreement', 'keyCertSign', 'cRLSign', 'encipherOnly', 'decipherOnly'][i + 1], arrayFilter(i -> bitTest(p.key_usage, i), range(9))) AS key_usages,
    arrayMap(o -> transform(o, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.3', '1.3.6.1.5.5.7.3.4', '1.3.6.1.5.5.7.3.8', '1.3.6.1.5.5.7.3.9', '2.5.29.37.0'], ['serverAuth', 'clientAuth', 'codeSigning', 'emailProtection', 'timeStamping', 'OCSPSigning', 'any'], o), p.ext_key_usages) AS ext_key_usages,
    p.policies AS policies,
    p.is_ca AS is_ca,
    p.path_len AS path_len,
    multiIf(c.subject_form IN (1, 2), concat('CN=', c.names[1]), c.subject_text) AS subject,
    if(c.subject_form IN (1, 2), [c.names[1]], arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'CN', c.subject))) AS subject_common_names,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'O', c.subject)) AS subject_organizations,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'OU', c.subject)) AS subject_units,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'C', c.subject)) AS subject_countries,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'L', c.subject)) AS subject_localities,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'ST', c.subject)) AS subject_provinces,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'serialNumber', c.subject)) AS subject_serial_numbers,
    arrayMap(x -> x.2, arrayFilter(x -> x.1 = 'email', c.subject)) AS subject_emails,
    lower(hex(c.ski)) AS subject_key_id,
    transform(c.ski_method, [1, 2], ['SHA-1', 'SHA-256'], '') AS subject_key_id_method,
    lower(hex(p.aki)) AS authority_key_id,
    arrayMap(x -> (lower(hex(x.1)), fromUnixTimestamp64Milli(reinterpret(x.2, 'Int64'), 'UTC')), c.scts) AS scts,
    p.ocsp AS ocsp,
    p.ca_issuers AS ca_issuers,
    p.crls AS crls,
    p.extensions AS extensions,
    arrayMap(x -> lower(hex(x)), p.chain) AS chain,
    p.version AS version,
    c.flags AS flags,
    toFixedString(substring(c.tbs_id, 1, 10), 10) AS tbs10,
    reinterpretAsUInt64(substring(c.tbs_id, 1, 8)) AS tbs8
FROM {db}.certs AS c FINAL
LEFT ANY JOIN {db}.profiles AS p ON p.id = if(c.profile_id != 0, c.profile_id, c.pre_profile_id)
COMMENT 'Certificates, one row each: precertificate and final certificate folded. The key look-ups are by tbs_id, sha256, serial_number, spki_sha256_prefix and, through certificates_for_domain, by name';

-- always
CREATE OR REPLACE VIEW {db}.certificates_for_domain AS
SELECT *
FROM {db}.certificates
WHERE tbs8 IN (
    SELECT tbs8 FROM {db}.name_certs
    WHERE rname >= concat(arrayStringConcat(arrayReverse(splitByChar('.', lower(trim(BOTH '.' FROM {domain:String})))), '.'), '.')
      AND rname < concat(arrayStringConcat(arrayReverse(splitByChar('.', lower(trim(BOTH '.' FROM {domain:String})))), '.'), '/'))
COMMENT 'Certificates with a name in a domain: SELECT * FROM certificates_for_domain(domain = ''example.com'')';

-- always
CREATE OR REPLACE VIEW {db}.entries
(
    log String COMMENT 'name of the log; empty if logs does not know it',
    log_id UInt64 COMMENT 'the log; see logs.id',
    idx UInt64 COMMENT 'position of the entry in its log',
    ts DateTime64(3, 'UTC') COMMENT 'when the log took the entry in',
    entry_type String COMMENT 'x509 (final certificate), precert or unknown',
    status String COMMENT 'how far the certificate could be read',
    tbs10 FixedString(10) COMMENT 'the certificate: first 10 bytes of certificates.tbs_id',
    id_prefix String COMMENT 'tbs10 in hexadecimal: what certificates.id begins with',
    tbs8 UInt64 COMMENT 'first 8 bytes of tbs10, little endian; see certificates.tbs8'
)
AS SELECT
    g.name AS log,
    l.log_id AS log_id,
    l.idx AS idx,
    l.ts AS ts,
    toString(l.entry_type) AS entry_type,
    toString(l.status) AS status,
    l.tbs10 AS tbs10,
    lower(hex(l.tbs10)) AS id_prefix,
    reinterpretAsUInt64(substring(l.tbs10, 1, 8)) AS tbs8
FROM {db}.ledger AS l
LEFT ANY JOIN (SELECT id, name FROM {db}.logs FINAL) AS g ON g.id = l.log_id
COMMENT 'Log entries: which log holds which certificate, where, since when. From entries to their certificates: certificates WHERE tbs8 IN (SELECT tbs8 FROM entries WHERE ...), from one: certificates_for_entry';

-- always
CREATE OR REPLACE VIEW {db}.certificates_for_entry AS
SELECT *
FROM {db}.certificates
WHERE tbs8 IN (SELECT tbs8 FROM {db}.ledger WHERE log_id = {log_id:UInt64} AND idx = {idx:UInt64})
  AND tbs10 IN (SELECT tbs10 FROM {db}.ledger WHERE log_id = {log_id:UInt64} AND idx = {idx:UInt64})
COMMENT 'The certificate of a log entry: SELECT * FROM certificates_for_entry(log_id = 1, idx = 2); log_id as in entries. Nothing if it could not be read: see problems';

-- always
CREATE OR REPLACE VIEW {db}.log_status
(
    log String COMMENT 'name of the log',
    operator String COMMENT 'who runs it',
    kind String COMMENT 'protocol: rfc6962 or static',
    url String COMMENT 'where it is read from',
    head_size UInt64 COMMENT 'newest signed tree size',
    head_ts DateTime64(3, 'UTC') COMMENT 'when the log signed it',
    head_root String COMMENT 'its root hash, hexadecimal',
    verified_from UInt64 COMMENT 'verified over [verified_from, verified_to)',
    verified_to UInt64 COMMENT 'see verified_from',
    behind UInt64 COMMENT 'entries of the head not verified yet',
    stopped_reason String COMMENT 'why the log is halted; empty while it is well',
    log_id String COMMENT 'the log ID, hexadecimal',
    id UInt64 COMMENT 'the log in ledger.log_id'
)
AS SELECT
    name AS log,
    operator,
    kind,
    url,
    head_size,
    head_ts,
    lower(hex(head_root)) AS head_root,
    verified_from,
    verified_to,
    if(head_size > verified_to, head_size - verified_to, 0) AS behind,
    stopped_reason,
    lower(hex(log_id)) AS log_id,
    id
FROM {db}.logs FINAL
COMMENT 'The logs: how large, how far verified, why stopped';
