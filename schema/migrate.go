package schema

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is the version of the schema: the number of the last migration. A
// database with a higher one belongs to a newer release and is refused.
const Version = 6

// DefaultDatabase is the database that is used where none is named.
const DefaultDatabase = "ct"

//go:embed migrations/*.sql
var migrations embed.FS

// Execer runs statements on a ClickHouse server. Package store has one.
type Execer interface {
	// Exec runs a statement that returns no rows.
	Exec(ctx context.Context, query string) error
	// Rows runs a query and returns its rows, every value as text.
	Rows(ctx context.Context, query string) ([][]string, error)
}

// Errors of Apply.
var (
	// ErrNewer says that the database was made by a newer release.
	ErrNewer = errors.New("the database has a newer schema than this release knows")
	// ErrOtherWriter says that another appliance writes to the database. Two
	// that do not know of each other would store entries twice.
	ErrOtherWriter = errors.New("the database belongs to another appliance")
)

// Owner is who applies migrations.
type Owner struct {
	ID  string    // writer id; empty takes the database's, or a new random one
	Now time.Time // recorded in table meta
}

// Applied is what Apply did.
type Applied struct {
	Statements []string // first line of each statement that was run
	WriterID   string   // the database's
	Created    bool     // there was no schema before
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// CheckDatabase returns an error that says what is wrong with a database name.
// Only plain identifiers are taken: the name becomes part of SQL.
func CheckDatabase(name string) error {
	if !databaseName.MatchString(name) {
		return fmt.Errorf("database name %q: use a letter or underscore, then letters, digits and underscores, at most 64", name)
	}
	return nil
}

// statement is one statement of a migration and when it is needed.
type statement struct {
	file   string
	unless string // "table certs"; "" is always
	sql    string
}

// Print returns all migrations as one script that sets up an empty database.
func Print(database string) (string, error) {
	if err := CheckDatabase(database); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, f := range files() {
		fmt.Fprintf(&b, "-- %s\n\n%s\n", f.name, f.text(database))
	}
	return b.String(), nil
}

type file struct{ name, sql string }

func (f file) text(database string) string {
	return strings.ReplaceAll(f.sql, "{db}", "`"+database+"`")
}

func (f file) sum() string {
	h := sha256.Sum256([]byte(f.sql))
	return hex.EncodeToString(h[:])
}

// files returns the migrations in order: views come after all else, since they
// show the tables as they are in the end.
func files() []file {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is ours
	}
	var list []file
	for _, name := range names {
		b, err := migrations.ReadFile(name)
		if err != nil {
			panic(err) // embedded
		}
		list = append(list, file{strings.TrimPrefix(name, "migrations/"), string(b)})
	}
	views := func(f file) bool { return strings.HasSuffix(f.name, "_views.sql") }
	slices.SortStableFunc(list, func(a, b file) int {
		switch {
		case views(a) == views(b):
			return 0
		case views(a):
			return 1
		}
		return -1
	})
	return list
}

var directive = regexp.MustCompile(`^-- (always|unless (database|(?:table|view) [a-z_]+|(?:column|index) [a-z_]+\.[a-z_0-9]+))$`)

// statements takes a migration apart. Statements end in ";" at the end of a
// line, and the comment line before each is its condition.
func (f file) statements(database string) ([]statement, error) {
	var list []statement
	var sql []string
	var condition string
	have := false
	for n, line := range strings.Split(f.text(database), "\n") {
		if strings.HasPrefix(line, "--") && len(sql) == 0 {
			if m := directive.FindStringSubmatch(line); m != nil {
				condition, have = m[2], true
			}
			continue
		}
		if strings.TrimSpace(line) == "" && len(sql) == 0 {
			continue
		}
		sql = append(sql, line)
		if strings.HasSuffix(line, ";") {
			if !have {
				return nil, fmt.Errorf("%s:%d: statement without a condition", f.name, n+1)
			}
			list = append(list, statement{f.name, condition, strings.TrimSuffix(strings.Join(sql, "\n"), ";")})
			sql, have = nil, false
		}
	}
	if len(sql) > 0 {
		return nil, fmt.Errorf("%s: the last statement does not end in ;", f.name)
	}
	return list, nil
}

// Apply brings a database to this release's schema and claims it for owner.
// It may be interrupted at any point and run again.
func Apply(ctx context.Context, db Execer, database string, owner Owner) (*Applied, error) {
	if err := CheckDatabase(database); err != nil {
		return nil, err
	}
	a := &Applied{}
	meta, newest, err := readMeta(ctx, db, database)
	if err != nil {
		return nil, fmt.Errorf("reading table meta: %w", err)
	}
	// What is written now must win, also where the clock was set back since.
	if !owner.Now.After(newest) {
		owner.Now = newest.Add(time.Millisecond)
	}
	a.Created = meta["created"] == ""
	if v := meta["schema_version"]; v != "" {
		var have int
		if _, err := fmt.Sscanf(v, "%d", &have); err != nil {
			return nil, fmt.Errorf("table meta: schema_version %q is not a number", v)
		}
		if have > Version {
			return nil, fmt.Errorf("%w: it has version %d, this release %d: use the newer release", ErrNewer, have, Version)
		}
	}
	a.WriterID = meta["writer_id"]
	if owner.ID != "" && a.WriterID != "" && owner.ID != a.WriterID {
		return nil, fmt.Errorf("%w: its writer_id is %q, ours %q: give this appliance a database of its own, or the data directory that belongs to this one",
			ErrOtherWriter, a.WriterID, owner.ID)
	}
	for _, f := range files() {
		key := "migration/" + f.name
		list, err := f.statements(database)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			needed := meta[key] != f.sum()
			if s.unless != "" {
				if needed, err = missing(ctx, db, database, s.unless); err != nil {
					return nil, fmt.Errorf("%s: asking for %s: %w", f.name, s.unless, err)
				}
			}
			if !needed {
				continue
			}
			head, _, _ := strings.Cut(s.sql, "\n")
			if err := db.Exec(ctx, s.sql); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", f.name, head, err)
			}
			a.Statements = append(a.Statements, head)
		}
		if meta[key] != f.sum() {
			if err := putMeta(ctx, db, database, owner.Now, key, f.sum()); err != nil {
				return nil, err
			}
		}
	}
	if a.WriterID == "" {
		if a.WriterID = owner.ID; a.WriterID == "" {
			a.WriterID = rand.Text()
		}
		if err := putMeta(ctx, db, database, owner.Now, "writer_id", a.WriterID); err != nil {
			return nil, err
		}
	}
	if a.Created {
		if err := putMeta(ctx, db, database, owner.Now, "created", owner.Now.UTC().Format(time.RFC3339)); err != nil {
			return nil, err
		}
	}
	if v := fmt.Sprint(Version); meta["schema_version"] != v {
		if err := putMeta(ctx, db, database, owner.Now, "schema_version", v); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// missing asks the server whether what a condition names does not exist.
func missing(ctx context.Context, db Execer, database, unless string) (bool, error) {
	kind, name, _ := strings.Cut(unless, " ")
	table, part, _ := strings.Cut(name, ".")
	var q string
	switch kind {
	case "database":
		q = fmt.Sprintf("SELECT name FROM system.databases WHERE name = %s", quote(database))
	case "table", "view":
		q = fmt.Sprintf("SELECT name FROM system.tables WHERE database = %s AND name = %s", quote(database), quote(table))
	case "column":
		q = fmt.Sprintf("SELECT name FROM system.columns WHERE database = %s AND table = %s AND name = %s", quote(database), quote(table), quote(part))
	case "index":
		q = fmt.Sprintf("SELECT name FROM system.data_skipping_indices WHERE database = %s AND table = %s AND name = %s", quote(database), quote(table), quote(part))
	}
	rows, err := db.Rows(ctx, q)
	return len(rows) == 0, err
}

// readMeta returns the values by key, and when the newest was written.
func readMeta(ctx context.Context, db Execer, database string) (meta map[string]string, newest time.Time, err error) {
	meta = map[string]string{}
	if no, err := missing(ctx, db, database, "table meta"); err != nil || no {
		return meta, newest, err
	}
	rows, err := db.Rows(ctx, fmt.Sprintf("SELECT key, value, toString(toUnixTimestamp64Milli(updated)) FROM `%s`.meta FINAL", database))
	for _, r := range rows {
		if len(r) != 3 {
			return nil, newest, fmt.Errorf("%d values in a row of key, value and time", len(r))
		}
		at, err := strconv.ParseInt(r[2], 10, 64)
		if err != nil {
			return nil, newest, fmt.Errorf("%q is not a time in milliseconds", r[2])
		}
		if t := time.UnixMilli(at); t.After(newest) {
			newest = t
		}
		meta[r[0]] = r[1]
	}
	return meta, newest, err
}

func putMeta(ctx context.Context, db Execer, database string, now time.Time, key, value string) error {
	err := db.Exec(ctx, fmt.Sprintf("INSERT INTO `%s`.meta (key, value, updated) SELECT %s, %s, fromUnixTimestamp64Milli(toInt64(%d), 'UTC')",
		database, quote(key), quote(value), now.UnixMilli()))
	if err != nil {
		return fmt.Errorf("writing %s to table meta: %w", key, err)
	}
	return nil
}

// quote returns s as a string literal of SQL.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
