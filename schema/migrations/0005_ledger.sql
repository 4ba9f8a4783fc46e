-- The ledger refers to certificates by 10 bytes of tbs_id instead of 16: 3.0
-- bytes for each entry. Hashes do not compress, and of 10^10 certificates there
-- are two that agree in 80 bits with a probability of 1 in 24,000.
--
-- Rows that are there keep their 16 bytes: of them the new column is computed
-- wherever it is read, and merges store it. So each statement takes effect at
-- once, whatever the size of the table, nothing is rewritten, and a release that
-- writes the old column to a table that has the new one writes both.

-- unless column ledger.tbs10
ALTER TABLE {db}.ledger
ADD COLUMN tbs10 FixedString(10) DEFAULT toFixedString(substring(tbs_id, 1, 10), 10) COMMENT 'the certificate: first 10 bytes of SHA-256(issuer key hash, TBS less poison and SCT list), the same for a precertificate and its final certificate; see certs.tbs10. Hash of the leaf if it could not be read' CODEC(ZSTD(1));

-- always
ALTER TABLE {db}.ledger
MODIFY COLUMN tbs_id DEFAULT toFixedString('', 16),
COMMENT COLUMN tbs_id 'zero; in rows that schema version 4 or an earlier one wrote, 16 bytes of what tbs10 has 10 of. Not written any more';

-- unless column ledger.tbs8
ALTER TABLE {db}.ledger
ADD COLUMN tbs8 UInt64 ALIAS reinterpretAsUInt64(substring(tbs10, 1, 8)) COMMENT 'first 8 bytes of tbs10, little endian, as in certs and name_certs';

-- unless column certs.tbs10
ALTER TABLE {db}.certs
ADD COLUMN tbs10 FixedString(10) ALIAS toFixedString(substring(tbs_id, 1, 10), 10) COMMENT 'first 10 bytes of tbs_id, as in the ledger';
