// Package promtest evaluates the alert rules of deploy/prometheus with
// Prometheus's own parser, query engine and templates, against tests.yml
// beside them, which is written as for 'promtool test rules'.
//
// It is a module of its own: nothing of Prometheus belongs into the
// appliance's. promtool itself, and the packages that it tests rules with,
// import every service discovery there is; this imports the query engine and
// holds alerts pending by itself. 'make rules' runs it.
package promtest
