-- A subject key identifier that follows from the key is not stored, whichever
-- way it follows. Those that were the SHA-1 of the key never were; 19 of 20 that
-- are issued today are 20 bytes of its SHA-256, which do not compress: 4.7 bytes
-- for each entry.
--
-- Rows that are there keep what they have: of ski_of_key the new column is
-- computed wherever it is read, and merges store it. Where rows of one
-- certificate were written by both versions the higher method counts, and ski is
-- either one's.

-- unless column certs.ski_method
ALTER TABLE {db}.certs
ADD COLUMN ski_method SimpleAggregateFunction(max, UInt8) DEFAULT toUInt8(ski_of_key) COMMENT 'how the subject key identifier follows from the key, the octets of its BIT STRING: 0 it does not (see ski) or there is none, 1 SHA-1 (RFC 5280 section 4.2.1.2 method 1), 2 first 20 bytes of SHA-256 (RFC 7093 section 2 method 1)' CODEC(LZ4);

-- always
ALTER TABLE {db}.certs
MODIFY COLUMN ski_of_key DEFAULT false,
COMMENT COLUMN ski_of_key 'in rows that schema version 5 or an earlier one wrote: ski_method is 1. Not written any more',
COMMENT COLUMN ski 'subject key identifier; empty where ski_method says what it is, but for method 2 in rows that schema version 5 or an earlier one wrote';
