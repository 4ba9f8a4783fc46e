package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/config"
	"ctappliance/ingest"
	"ctappliance/wal"
)

func walCommand() *cli.Command {
	flags := func() []cli.Flag { return config.Flags("data-dir") }
	return &cli.Command{
		Name:  "wal",
		Usage: "look into the write-ahead log",
		Subcommands: []*cli.Command{
			{Name: "ls", Usage: "list the segments", Flags: flags(), Action: walAction(walList)},
			{Name: "dump", Usage: "list the records: log and index range of each", Flags: flags(), Action: walAction(walDump)},
			{Name: "verify", Usage: "read every record and check it; exit 1 if one is damaged", Flags: flags(), Action: walAction(walVerify)},
		},
	}
}

// walAction finds the WAL of the data directory. It may be in use: reading
// changes nothing.
func walAction(fn func(dir string, out io.Writer) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		cfg, err := configured(c, false)
		if err != nil {
			return err
		}
		dir := ingest.WALDir(cfg.DataDir)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("there is no write-ahead log in %s; point --data-dir at the directory of an appliance", cfg.DataDir)
		}
		return fn(dir, c.App.Writer)
	}
}

func walList(dir string, out io.Writer) error {
	segments, err := wal.List(dir)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "segment\tfirst record\tbytes\tnote")
	for _, s := range segments {
		note := ""
		switch {
		case s.Damaged || s.Trimmed:
			note = "set aside: damaged"
		case s.Active:
			note = "newest"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", s.Name, s.BaseSeq, s.Bytes, note)
	}
	return w.Flush()
}

// walDump lists every record. One that is no batch of entries, which only
// another program's WAL would have, is listed without its range.
func walDump(dir string, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "record\tspan\tlog\tfrom\tto\tbytes")
	err := wal.Each(dir, func(r wal.Record) error {
		log, from, to, err := ingest.RecordRange(r.Payload)
		if err != nil {
			_, err = fmt.Fprintf(w, "%d\t%d\t-\t-\t-\t%d\n", r.Seq, r.Stream, len(r.Payload))
			return err
		}
		_, err = fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%d\t%d\n", r.Seq, r.Stream, hex.EncodeToString(log[:4]), from, to, len(r.Payload))
		return err
	})
	return errors.Join(w.Flush(), err)
}

func walVerify(dir string, out io.Writer) error {
	var records, damaged int
	segments := 0
	var corrupt *wal.CorruptError
	err := wal.Verify(dir, func(r wal.SegmentReport) error {
		segments++
		records += r.Records
		state := "ok"
		if len(r.Damage) > 0 {
			damaged++
			state = "DAMAGED"
		}
		fmt.Fprintf(out, "%s: %s, %d records\n", r.Name, state, r.Records)
		for _, d := range r.Damage {
			fmt.Fprintf(out, "  at byte %d: %s\n", d.Offset, d.Reason)
		}
		return nil
	})
	if err != nil && !errors.As(err, &corrupt) {
		return err
	}
	if damaged > 0 {
		return fmt.Errorf("%d of %d segments are damaged; 'ctappliance run' fetches again what they held", damaged, segments)
	}
	fmt.Fprintf(out, "%d segments, %d records, all intact\n", segments, records)
	return nil
}
