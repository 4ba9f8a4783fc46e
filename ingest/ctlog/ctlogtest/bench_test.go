package ctlogtest

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return io.Discard.Write(b) }
func (d discard) WriteHeader(int)             {}

// BenchmarkServe reports what an entry costs the server: cold when it is made
// for the answer, warm when it is in memory.
func BenchmarkServe(b *testing.B) {
	const size = 20 * 256
	corpus := newTestCorpus(b, CorpusOptions{Seed: 1})
	for _, k := range []Kind{RFC6962, Static} {
		for _, warm := range []bool{true, false} {
			l := newTestLog(b, Options{Kind: k, Size: size, Corpus: corpus})
			if !warm {
				l.pages.limit, l.tiles.limit = 1, 1
			}
			b.Run(fmt.Sprintf("%v/warm=%v", k, warm), func(b *testing.B) {
				i := 0
				for b.Loop() {
					n := i % 20
					path := fmt.Sprintf("/tile/data/%03d", n)
					if k == RFC6962 {
						path = fmt.Sprintf("/ct/v1/get-entries?start=%d&end=%d", n*256, n*256+255)
					}
					r, _ := http.NewRequest("GET", path, nil)
					l.Handler().ServeHTTP(discard{http.Header{}}, r)
					i++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/entry")
			})
		}
	}
}
