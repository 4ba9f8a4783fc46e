// Package engine is the embedded ClickHouse.
package engine

const npmVersion = "26.7.3-stable.1"
