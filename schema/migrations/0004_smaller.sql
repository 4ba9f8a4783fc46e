-- Codecs that make the name tables smaller: 3.45 bytes for each entry of all
-- logs, which have 4.2 entries for a certificate. They apply to what is written
-- from then on, merges included; nothing is rewritten for it.

-- The certificates of a name are, in the same order, those of the name beside
-- it: columns of name_certs repeat what stood there some rows ago, whatever
-- their values are. CODEC(NONE) and Delta hide that.
-- always
ALTER TABLE {db}.name_certs
MODIFY COLUMN not_before CODEC(ZSTD(1)),
MODIFY COLUMN tbs8 CODEC(ZSTD(1));

-- The names of a certificate come with one timestamp.
-- always
ALTER TABLE {db}.names
MODIFY COLUMN first_seen CODEC(ZSTD(1)),
MODIFY COLUMN last_seen CODEC(ZSTD(1)),
MODIFY COLUMN max_not_after CODEC(ZSTD(1));
