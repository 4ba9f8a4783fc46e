// Package usage is about commands used wrongly: exit status 2, and an [Error]
// that says how to use them. It puts what the command line's library finds into
// our words, with the flag or command that was probably meant.
package usage
