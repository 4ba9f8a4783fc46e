package schema

func issuerFields() []field[Issuer] {
	return []field[Issuer]{
		b32("sha256", func(i *Issuer) *Hash { return &i.Fingerprint }),
		b32("spki_sha256", func(i *Issuer) *Hash { return &i.SPKI }),
		strs("cns", func(i *Issuer) []string { return i.Subject.CommonNames }),
		strs("orgs", func(i *Issuer) []string { return i.Subject.Organizations }),
		strs("units", func(i *Issuer) []string { return i.Subject.Units }),
		strs("countries", func(i *Issuer) []string { return i.Subject.Countries }),
		strs("localities", func(i *Issuer) []string { return i.Subject.Localities }),
		strs("provinces", func(i *Issuer) []string { return i.Subject.Provinces }),
		strs("serials", func(i *Issuer) []string { return i.Subject.SerialNumbers }),
		strs("emails", func(i *Issuer) []string { return i.Subject.Emails }),
		str("name", func(i *Issuer) string { return i.Subject.Text }),
		raw("name_der", func(i *Issuer) []byte { return i.Subject.Raw }),
		strs("issuer_cns", func(i *Issuer) []string { return i.IssuerName.CommonNames }),
		strs("issuer_orgs", func(i *Issuer) []string { return i.IssuerName.Organizations }),
		strs("issuer_units", func(i *Issuer) []string { return i.IssuerName.Units }),
		strs("issuer_countries", func(i *Issuer) []string { return i.IssuerName.Countries }),
		strs("issuer_localities", func(i *Issuer) []string { return i.IssuerName.Localities }),
		strs("issuer_provinces", func(i *Issuer) []string { return i.IssuerName.Provinces }),
		strs("issuer_serials", func(i *Issuer) []string { return i.IssuerName.SerialNumbers }),
		strs("issuer_emails", func(i *Issuer) []string { return i.IssuerName.Emails }),
		str("issuer_name", func(i *Issuer) string { return i.IssuerName.Text }),
		raw("issuer_der", func(i *Issuer) []byte { return i.IssuerName.Raw }),
		i64("not_before", typeSeconds, func(i *Issuer) int64 { return clampTime(i.NotBefore) }),
		i64("not_after", typeSeconds, func(i *Issuer) int64 { return clampTime(i.NotAfter) }),
		raw("ski", func(i *Issuer) []byte { return i.SKI }),
		flag("is_ca", func(i *Issuer) bool { return i.IsCA }),
		flag("self_signed", func(i *Issuer) bool { return i.SelfSigned }),
		flag("precert_signs", func(i *Issuer) bool { return i.PrecertSigns }),
		raw("der", func(i *Issuer) []byte { return i.DER }),
		str("error", func(i *Issuer) string { return i.Error }),
	}
}

// logRow is what one row of logs is filled from.
type logRow struct {
	*Log
	updated uint64
}

func logFields() []field[logRow] {
	return []field[logRow]{
		u64("id", func(l *logRow) uint64 { return ShortID(l.ID) }),
		b32("log_id", func(l *logRow) *Hash { return &l.ID }),
		str("name", func(l *logRow) string { return l.Name }),
		str("operator", func(l *logRow) string { return l.Operator }),
		str("url", func(l *logRow) string { return l.URL }),
		str("kind", func(l *logRow) string { return l.Kind }),
		u64("head_size", func(l *logRow) uint64 { return l.HeadSize }),
		i64("head_ts", typeMillis, func(l *logRow) int64 { return int64(l.HeadTime) }),
		b32("head_root", func(l *logRow) *Hash { return &l.HeadRoot }),
		u64("verified_from", func(l *logRow) uint64 { return l.VerifiedFrom }),
		u64("verified_to", func(l *logRow) uint64 { return l.VerifiedTo }),
		str("stopped_reason", func(l *logRow) string { return l.StoppedReason }),
		u64("updated", func(l *logRow) uint64 { return l.updated }),
	}
}

// Logs builds the insert into table logs.
type Logs struct{ b *builder[logRow] }

// NewLogs returns an empty Logs.
func NewLogs() *Logs { return &Logs{newBuilder("logs", logFields())} }

// Append adds the row of a log. Of several rows of a log the one with the
// highest updated counts.
func (l *Logs) Append(log *Log, updated uint64) { l.b.append(&logRow{log, updated}) }

// Block returns what was appended since Reset.
func (l *Logs) Block() *Block { return &l.b.Block }

// Reset makes the Logs empty.
func (l *Logs) Reset() { l.b.Reset() }
