package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"

	"ctappliance/cmd/ctappliance/plain"
)

// endsWithFormat finds statements that say in which format they want their
// answer.
var endsWithFormat = regexp.MustCompile(`(?is)\sFORMAT\s+[A-Za-z]+\s*;?\s*$`)

// queryAsIs sends a statement to the engine's HTTP interface and copies the
// answer, in the format that the statement asks for. dsn holds the user.
func queryAsIs(ctx context.Context, dsn, database, statement string, out io.Writer) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return errors.New("the engine's address does not parse")
	}
	user := u.User
	u.User, u.RawQuery = nil, url.Values{"database": {database}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(statement))
	if err != nil {
		return fmt.Errorf("asking the engine: %w", err)
	}
	password, _ := user.Password()
	request.SetBasicAuth(user.Username(), password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking the engine: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("ClickHouse: %s", plain.Printable(strings.TrimSpace(string(said))))
	}
	end := &ending{w: out}
	if _, err := io.Copy(end, response.Body); err != nil {
		return fmt.Errorf("reading the engine's answer: %w", err)
	}
	// The protocol's way to fail when the answer has begun.
	if strings.HasSuffix(strings.TrimSpace(string(end.last)), "__exception__") {
		return errors.New("the statement failed half-way; the end of its answer says why")
	}
	return nil
}

// ending remembers the end of what went through it.
type ending struct {
	w    io.Writer
	last []byte
}

func (t *ending) Write(p []byte) (int, error) {
	t.last = append(t.last, p[max(0, len(p)-64):]...)
	t.last = t.last[max(0, len(t.last)-64):]
	return t.w.Write(p)
}

// forTerminal returns a writer for values that strangers chose: where w is a
// terminal it replaces what one would act on. A file or a pipe gets the bytes
// as they are.
func forTerminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &harmless{w: w}
	}
	return w
}

// harmless replaces control characters but line break and tab by question
// marks: those of ASCII, and in UTF-8 those from U+0080 to U+009F.
type harmless struct {
	w  io.Writer
	c2 bool // the byte before was the first of U+0080 to U+00BF
}

func (h *harmless) Write(p []byte) (int, error) {
	clean := make([]byte, len(p))
	for i, b := range p {
		switch {
		case b < ' ' && b != '\n' && b != '\t', b == 0x7f, h.c2 && b >= 0x80 && b <= 0x9f:
			clean[i] = '?'
		default:
			clean[i] = b
		}
		h.c2 = b == 0xc2
	}
	if _, err := h.w.Write(clean); err != nil {
		return 0, err
	}
	return len(p), nil
}
