package usage

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"ctappliance/cmd/ctappliance/plain"
)

// Error is a command used wrongly: exit status 2.
type Error struct{ err error }

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Wrap makes err one of a command used wrongly.
func Wrap(err error) error { return &Error{err} }

// Errorf is wrongly with fmt.Errorf.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// NoArguments refuses words that a command would silently ignore.
func NoArguments(c *cli.Context) error {
	if c.Args().Present() {
		return Errorf("%s is one word too many; see '%s --help'", plain.Quote(c.Args().First()), c.Command.HelpName)
	}
	return nil
}

// Set makes what is wrong with the words of a command usage errors: flags
// that it does not have, and subcommands.
func Set(c *cli.Command) {
	c.HideHelpCommand = true
	c.OnUsageError = func(ctx *cli.Context, err error, _ bool) error { return FlagError(ctx, err) }
	if len(c.Subcommands) > 0 && c.Action == nil {
		c.Action = func(ctx *cli.Context) error {
			if !ctx.Args().Present() {
				return cli.ShowSubcommandHelp(ctx)
			}
			return NoCommand(ctx, ctx.Command.HelpName, ctx.Command.Subcommands)
		}
	}
	for _, sub := range c.Subcommands {
		Set(sub)
	}
}

// NoCommand says that the first word is not a command, and what comes near.
func NoCommand(c *cli.Context, name string, commands []*cli.Command) error {
	var names []string
	for _, sub := range commands {
		if !sub.Hidden {
			names = append(names, sub.Name)
		}
	}
	word := c.Args().First()
	return Errorf("there is no command %s%s; see '%s --help'", plain.Quote(word), didYouMean(word, names, ""), name)
}

func didYouMean(word string, candidates []string, prefix string) string {
	if near := plain.Nearest(word, candidates); near != "" {
		return ", did you mean " + prefix + near + "?"
	}
	return ""
}

var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -+(.*)$`)
	needsValue  = regexp.MustCompile(`^flag needs an argument: -+(.*)$`)
	badValue    = regexp.MustCompile(`(?s)^invalid (?:boolean )?value "(.*)" for (?:flag )?-+([^:]+): (.*)$`)
)

// FlagError says in our words what the flag package found.
func FlagError(c *cli.Context, err error) error {
	see := fmt.Sprintf("; see '%s --help'", c.Command.HelpName)
	text := err.Error()
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		var names []string
		for _, f := range c.Command.Flags {
			names = append(names, f.Names()...)
		}
		return Errorf("there is no flag %s%s%s", plain.Quote("--"+m[1]), didYouMean(m[1], names, "--"), see)
	}
	if m := needsValue.FindStringSubmatch(text); m != nil {
		return Errorf("--%s: a value is missing%s", plain.Printable(m[1]), see)
	}
	if m := badValue.FindStringSubmatch(text); m != nil {
		kind := "understood"
		for _, f := range c.Command.Flags {
			if f.Names()[0] != m[2] {
				continue
			}
			switch f.(type) {
			case *cli.Uint64Flag:
				kind = "a whole number from 0"
			case *cli.IntFlag:
				kind = "a whole number"
			case *cli.DurationFlag:
				kind = "a time such as 90s or 10m"
			case *cli.BoolFlag:
				kind = "true or false"
			}
		}
		return Errorf("--%s: %s is not %s%s", plain.Printable(m[2]), plain.Quote(m[1]), kind, see)
	}
	return &Error{errors.New(plain.Printable(strings.ReplaceAll(text, "\n", " ")) + see)}
}
