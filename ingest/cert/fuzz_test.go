package cert

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"ctappliance/schema"

	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// FuzzParse gives Parse any leaf and precertificate: it must return, and the
// row must hold together.
func FuzzParse(f *testing.F) {
	for _, in := range goldenEntries(f) {
		f.Add(in.Leaf, in.Precert)
	}
	for _, w := range weirdCerts {
		f.Add(x509Leaf(w.der), []byte(nil))
		f.Add(precertLeaf(testIssuer, w.der), w.der)
	}
	f.Fuzz(func(t *testing.T, leaf, precert []byte) {
		in := &Input{Leaf: leaf, Precert: precert}
		l, p := slices.Clone(leaf), slices.Clone(precert)
		row := parse(in)
		checkInvariants(t, row)
		if !slices.Equal(leaf, l) || !slices.Equal(precert, p) {
			t.Error("the input was written to")
		}
	})
}

// FuzzCertificate holds clean rows against ct-go: where we find nothing odd
// and ct-go accepts, the columns must be the same.
func FuzzCertificate(f *testing.F) {
	for _, w := range weirdCerts {
		f.Add(w.der)
	}
	for _, in := range goldenEntries(f) {
		if row := parse(in); row.DER != nil {
			f.Add(row.DER)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		checkAgainstCT(t, der)
		ParseIssuer(der)
	})
}

// What became of one certificate in both parsers.
const (
	agree = iota
	cleanButRefused
	flagged
	weRefuse
)

func checkAgainstCT(t testing.TB, der []byte) int {
	row := parseX509(der)
	checkInvariants(t, row)
	switch {
	case row.Status >= refused:
		return weRefuse
	case Flag(row.Flags)&^PoisonOdd != 0: // precertificates stand for certificates here
		return flagged
	}
	c, err := ctx509.ParseCertificate(der)
	if err != nil {
		return cleanButRefused // EC points, name constraints: no columns of ours
	}
	for _, d := range diffCT(row, c) {
		t.Errorf("%v\n%x", d, der)
	}
	return agree
}

// TestMutants parses certificates with one or two bytes changed, cut out or
// put in.
func TestMutants(t *testing.T) {
	var seeds [][]byte
	for _, w := range weirdCerts {
		if len(w.der) < 4096 {
			seeds = append(seeds, w.der)
		}
	}
	for _, in := range goldenEntries(t) {
		seeds = append(seeds, parse(in).DER)
	}
	t.Run("synthetic", func(t *testing.T) { mutate(t, seeds, mutants()/4) })
	t.Run("corpora", func(t *testing.T) {
		var seeds [][]byte
		for _, c := range append(liveCerts(t), oddCerts(t)...) {
			if len(c.der) < 4096 {
				seeds = append(seeds, c.der)
			}
		}
		mutate(t, seeds, mutants()*3/4)
	})
	t.Run("precerts", func(t *testing.T) {
		entries := tileEntries(t, filepath.Join(dataDir(t), "static", "navigli2025h2", "tile", "data"))
		r := rand.New(rand.NewPCG(3, 4))
		differ := 0
		for range mutants() / 10 {
			in := entries[r.IntN(len(entries))]
			want := parse(&in)
			if r.IntN(2) == 0 {
				in.Precert = mutant(r, in.Precert)
			} else {
				in.Leaf = slices.Concat(in.Leaf[:44], mutant(r, in.Leaf[44:]))
			}
			row := parse(&in)
			checkInvariants(t, row)
			if row.Flags&uint64(TBSDiffers|PrecertBad) != 0 {
				differ++
			} else if row.Status == schema.StatusOK && row.TBSID != want.TBSID {
				t.Errorf("another TBSID, and the precertificate fits: %x", in.Leaf)
			}
		}
		t.Logf("%d mutants differ from their leaf or cannot be read", differ)
		if differ == 0 {
			t.Error("no mutant differs")
		}
	})
}

// mutants is how many there are: 100,000, fewer where it would take long.
func mutants() int {
	if raceEnabled || testing.Short() {
		return 8_000
	}
	return 100_000
}

func mutate(t *testing.T, seeds [][]byte, n int) {
	r := rand.New(rand.NewPCG(1, 2))
	var count [4]int
	for range n {
		count[checkAgainstCT(t, mutant(r, seeds[r.IntN(len(seeds))]))]++
		if t.Failed() {
			return
		}
	}
	t.Logf("of %d mutants of %d certificates: %d clean and as ct-go reads them, %d clean though ct-go refuses, %d flagged, %d refused",
		n, len(seeds), count[agree], count[cleanButRefused], count[flagged], count[weRefuse])
	if count[agree] == 0 || count[flagged] == 0 {
		t.Error("the mutants test nothing")
	}
}

// mutant returns b with one or two bytes changed, now and then one cut out or
// put in.
func mutant(r *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + r.IntN(2) {
		if len(b) == 0 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(12) {
		case 0:
			b = slices.Delete(b, at, at+1)
		case 1:
			b = slices.Insert(b, at, byte(r.Uint32()))
		case 2:
			b[at] ^= 1 << r.IntN(8)
		default:
			b[at] = byte(r.Uint32())
		}
	}
	return b
}
