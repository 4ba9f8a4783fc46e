package schema

// subjectForm says how certs stores a subject: nearly every domain-validated
// certificate has none, or repeats its first DNS name in it.
type subjectForm uint8

// The values of certs.subject_form.
const (
	subjectStored    subjectForm = 0 // in subject, subject_text and subject_der
	subjectPrintable subjectForm = 1 // is CN=names[1] as PrintableString
	subjectUTF8      subjectForm = 2 // is CN=names[1] as UTF8String
	subjectEmpty     subjectForm = 3 // is the empty sequence
)

const (
	tagUTF8String      = 12
	tagPrintableString = 19
)

// formOf returns how the subject of r is stored. It is other than
// subjectStored only if every field of the subject can be had back from it.
func formOf(r *Row) subjectForm {
	s := &r.Subject
	if len(s.Organizations)+len(s.Units)+len(s.Countries)+len(s.Localities)+
		len(s.Provinces)+len(s.SerialNumbers)+len(s.Emails) != 0 {
		return subjectStored
	}
	if len(s.CommonNames) == 0 {
		if s.Text == "" && len(s.Raw) == 2 && s.Raw[0] == 0x30 && s.Raw[1] == 0 {
			return subjectEmpty
		}
		return subjectStored
	}
	if len(s.CommonNames) != 1 || len(r.DNSNames) == 0 || s.CommonNames[0] != r.DNSNames[0] {
		return subjectStored
	}
	name := r.DNSNames[0]
	if !plainName(name) || len(s.Text) != 3+len(name) || s.Text[:3] != "CN=" || s.Text[3:] != name {
		return subjectStored
	}
	var buf [11 + maxPlainName]byte
	for _, f := range [...]subjectForm{subjectPrintable, subjectUTF8} {
		if string(appendSubject(buf[:0], f, name)) == string(s.Raw) {
			return f
		}
	}
	return subjectStored
}

// maxPlainName keeps every length octet of the subject below 128. It is also
// the upper bound of a common name (RFC 5280 appendix A.1).
const maxPlainName = 64

// plainName reports whether name needs no escape in RFC 4514 form and is short
// enough for the short length form of DER.
func plainName(name string) bool {
	if len(name) == 0 || len(name) > maxPlainName {
		return false
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '*', c == '_':
		default:
			return false
		}
	}
	return true
}

// appendSubject appends the DER of the subject that a form stands for.
func appendSubject(dst []byte, f subjectForm, name string) []byte {
	n := byte(len(name))
	tag := byte(tagPrintableString)
	switch f {
	case subjectEmpty:
		return append(dst, 0x30, 0)
	case subjectUTF8:
		tag = tagUTF8String
	}
	dst = append(dst, 0x30, n+11, 0x31, n+9, 0x30, n+7, 0x06, 0x03, 0x55, 0x04, 0x03, tag, n)
	return append(dst, name...)
}
