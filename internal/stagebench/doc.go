// Package stagebench measures a stage of the pipeline beside what a user would
// take instead of it, in one run, so that the ratio can be trusted where the
// times cannot: on a machine that others use too.
//
// What is counted is the processor time of the whole process, the garbage
// collector's included, per entry. A benchmark prints it as "cpu-us/entry",
// the ratio as "x-faster" in the row of what the stage is compared with, and
// at its end all rows as a table in Markdown, on standard output.
package stagebench
