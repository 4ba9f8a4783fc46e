package ctlog

import (
	"bytes"
	"context"
	"testing"
)

// A recording keeps copies, in order, up to its limits, and nothing without one.
func TestRecording(t *testing.T) {
	record(t.Context(), Answer{Path: "nobody asked"})
	ctx, r := Record(context.Background(), 10)
	body := []byte("sixsix")
	record(ctx, Answer{Path: "a", Status: 200, Body: body})
	body[0] = 'X'
	record(ctx, Answer{Path: "b", Status: 404, Body: []byte("seven77")})
	record(ctx, Answer{Path: "c", Status: 200, Body: []byte("more")})
	got := r.Answers()
	if len(got) != 3 || string(got[0].Body) != "sixsix" || got[0].Cut || !bytes.Equal(got[1].Body, []byte("seve")) || !got[1].Cut || len(got[2].Body) != 0 || !got[2].Cut {
		t.Errorf("%+v", got)
	}
	for range 2 * maxRecorded {
		record(ctx, Answer{})
	}
	if n := len(r.Answers()); n != maxRecorded {
		t.Errorf("%d answers kept", n)
	}
}
