package cert

import "encoding/binary"

// Years that a GeneralizedTime can express; what an offset carries beyond is
// clamped to them.
const (
	minTime = -62167219200 // 0000-01-01 00:00:00 UTC
	maxTime = 253402300799 // 9999-12-31 23:59:59 UTC, RFC 5280's "no well-defined expiration date"
)

// parseTime reads a UTCTime or GeneralizedTime, in seconds since 1970.
//
// It accepts, and flags with TimeOdd, what X.680 or older practice allows and
// DER does not: no seconds, no "Z" (taken as UTC), an offset from UTC, a
// fraction (cut off), and another string type around the same digits. Parts
// that are out of range (month 13, 30 February, second 60) are clamped and
// flagged TimeBad. ok is false for what is no date at all.
func parseTime(tag byte, b []byte) (seconds int64, f Flag, ok bool) {
	if tag == tagUTCTime && len(b) == len("060102150405Z") && b[12] == 'Z' {
		if t, ok := plainUTCTime(b); ok {
			return t, 0, true
		}
	}
	yearDigits := 2
	switch tag {
	case tagUTCTime:
		if d := digits(b); d == 14 {
			yearDigits = 4
			f |= TimeOdd
		}
	case tagGenTime:
		yearDigits = 4
	default:
		f |= TimeOdd
		if d := digits(b); d == 8 || d >= 13 {
			yearDigits = 4
		}
	}
	d := digits(b)
	// Date and hour are needed; minutes and seconds may be missing.
	if d < yearDigits+6 || d > yearDigits+10 || (d-yearDigits)%2 != 0 {
		return 0, f | TimeBad, false
	}
	year := number(b[:yearDigits])
	if yearDigits == 2 {
		if year >= 50 {
			year += 1900
		} else {
			year += 2000
		}
	} else if year < 2050 && tag == tagGenTime {
		f |= TimeGT
	}
	var part [5]int // month, day, hour, minute, second
	for i := range part {
		if at := yearDigits + 2*i; at < d {
			part[i] = number(b[at : at+2])
		} else {
			f |= TimeOdd
		}
	}
	month, f := clamp(part[0], 1, 12, f)
	day, f := clamp(part[1], 1, daysIn(year, month), f)
	hour, f := clamp(part[2], 0, 23, f)
	minute, f := clamp(part[3], 0, 59, f)
	second, f := clamp(part[4], 0, 59, f)
	t := civil(year, month, day)*86400 + int64(hour*3600+minute*60+second)

	rest := b[d:]
	if len(rest) > 0 && (rest[0] == '.' || rest[0] == ',') {
		f |= TimeOdd
		rest = rest[1+digits(rest[1:]):]
	}
	switch {
	case len(rest) == 1 && rest[0] == 'Z':
	case len(rest) == 0:
		f |= TimeOdd
	case (rest[0] == '+' || rest[0] == '-') && (digits(rest[1:]) == 4 || digits(rest[1:]) == 2):
		f |= TimeOdd
		n := 1 + digits(rest[1:])
		off, _ := clamp(number(rest[1:3]), 0, 23, 0)
		off *= 3600
		if n == 5 {
			m, _ := clamp(number(rest[3:5]), 0, 59, 0)
			off += m * 60
		}
		if rest[0] == '+' {
			off = -off
		}
		t += int64(off)
		if n != len(rest) {
			f |= TimeBad
		}
	default:
		f |= TimeOdd | TimeBad // something follows the digits that is no zone
	}
	if t < minTime {
		t, f = minTime, f|TimeBad
	}
	if t > maxTime {
		t, f = maxTime, f|TimeBad
	}
	return t, f, true
}

// plainUTCTime reads "YYMMDDhhmmssZ", the form of nearly all dates there are.
// ok is false where a digit is none, or a part out of range.
func plainUTCTime(b []byte) (seconds int64, ok bool) {
	const zeros = 0x3030303030303030
	x := binary.LittleEndian.Uint64(b) ^ zeros             // year, month, day, hour
	y := uint64(binary.LittleEndian.Uint32(b[8:])) ^ zeros // minute, second, and "0000"
	y &= 1<<32 - 1
	// A byte is a digit if it has no high bits, and still none after adding 6.
	const high, six = 0xf0f0f0f0f0f0f0f0, 0x0606060606060606
	if (x|y|(x+six)|(y+six))&high != 0 {
		return 0, false
	}
	x, y = x*10+x>>8, y*10+y>>8 // two digits each in the first byte of a pair
	year, month, day, hour := int(byte(x)), int(byte(x>>16)), int(byte(x>>32)), int(byte(x>>48))
	minute, second := int(byte(y)), int(byte(y>>16))
	if month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	m := &utcMonths[year*12+month-1]
	if day < 1 || day > int(m.days) {
		return 0, false
	}
	return (int64(m.first)+int64(day))*86400 + int64(hour*3600+minute*60+second), true
}

// utcMonths are the months of UTCTime, 00 to 99: of which there are days, and the day
// before the first, in days since 1970.
var utcMonths = func() (t [1200]struct {
	first int16
	days  uint8
}) {
	for i := range t {
		year, month := 2000+i/12, 1+i%12
		if year >= 2050 {
			year -= 100
		}
		t[i].first = int16(civil(year, month, 1) - 1)
		t[i].days = uint8(daysIn(year, month))
	}
	return t
}()

// digits returns how many decimal digits b begins with.
func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}

// number returns the value of at most four decimal digits.
func number(b []byte) int {
	n := 0
	for _, c := range b {
		n = n*10 + int(c-'0')
	}
	return n
}

// clamp returns v within [lo, hi], and f with TimeBad if that changed it.
func clamp(v, lo, hi int, f Flag) (int, Flag) {
	if v < lo {
		return lo, f | TimeBad
	}
	if v > hi {
		return hi, f | TimeBad
	}
	return v, f
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// civil returns the days from 1970-01-01 to a date of the proleptic Gregorian
// calendar, year ≥ 0.
func civil(year, month, day int) int64 {
	// Years begin in March here, so that the leap day is their last.
	if month <= 2 {
		year--
		month += 12
	}
	year += 400 // keeps every quotient positive for year 0
	era := year / 400
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + day - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era-1)*146097 + int64(doe) - 719468
}
