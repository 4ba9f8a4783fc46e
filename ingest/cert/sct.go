package cert

import (
	"encoding/binary"
	"slices"

	"ctappliance/schema"
)

// maxSCTs is how many SCTs are listed; see maxExtensions.
const maxSCTs = 64

// sctList reads an embedded SignedCertificateTimestampList (RFC 6962 sections
// 3.2 and 3.3): an OCTET STRING around list<16> of sct<16>, each
//
//	 0  u8   version, 0
//	 1       log ID [32]
//	33  u64  timestamp
//	41       extensions<16>, signature
func (p *parser) sctList(v []byte) {
	b, ok := p.open(v, tagOctets, "SCT list: not an OCTET STRING")
	if !ok {
		p.odd(SCTBad)
		return
	}
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		p.lost(SCTBad, "SCT list: length does not match")
		return
	}
	b = b[2:]
	if len(b) == 0 {
		p.odd(SCTBad)
	}
	// Bound before allocating: one that is listed takes at least 45 bytes, so
	// scts never moves.
	if n := min(len(b)/45, maxSCTs); cap(p.scts)-len(p.scts) < n {
		p.scts = make([]schema.SCT, 0, max(n, sctSlab))
	}
	scts := p.scts[len(p.scts):]
	for len(b) > 0 {
		if len(b) < 2 {
			p.lost(SCTBad, "SCT list: broken off")
			break
		}
		n := int(binary.BigEndian.Uint16(b))
		if n > len(b)-2 {
			p.lost(SCTBad, "SCT list: SCT longer than the list")
			break
		}
		sct := b[2 : 2+n]
		b = b[2+n:]
		switch {
		case n < 43 || sct[0] != 0:
			p.lost(SCTBad, "SCT list: SCT too short or of unknown version")
		case len(scts) == maxSCTs || len(p.row.SCTs)+len(scts) >= maxSCTs:
			p.odd(ListMany)
		default:
			// In place: a copy of what was just written would wait for it.
			scts = scts[:len(scts)+1]
			s := &scts[len(scts)-1]
			s.LogID = schema.Hash(sct[1:33])
			s.Timestamp = binary.BigEndian.Uint64(sct[33:])
		}
	}
	if p.row.SCTs == nil {
		p.scts = p.scts[:len(p.scts)+len(scts)]
		p.row.SCTs = slices.Clip(scts)
	} else {
		p.row.SCTs = append(p.row.SCTs, scts...)
	}
	if len(p.row.SCTs) == 0 {
		p.row.SCTs = nil
	}
}
