// Package report is what an appliance says of itself, and how that is shown:
//
//	[Reporter]     makes the [Status] of a running appliance: the pipeline's, the
//	               engine's, and what has to be sampled (how fast the disk fills,
//	               how long a record has waited, what was refused lately)
//	[Print]        the screen: as many columns as the terminal has; the logs that
//	               somebody should look at come first
//	[Watch]        the same again and again, on one place of the terminal
//	[Check]        for monitoring: 0 ok, 1 warning, 2 critical, and one line
//	[PrintJSON]    for programs, in ASCII
//	[StatusLine]   for the service manager
//	[Summarize]    for the log, every ten minutes
//	[LogTable]     the table of 'ctappliance logs'
//
// A status holds what logs, lists and servers chose: names, errors, URLs. Nothing
// of that reaches a terminal but as printable ASCII. The screens of testdata are
// written by 'go test -run TestStatusScreen -golden'; look at them.
package report
