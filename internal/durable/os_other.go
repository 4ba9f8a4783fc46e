//go:build !linux

package durable

import (
	"errors"
	"math"
	"os"
)

func fallocate(*os.File, int64) error { return errors.ErrUnsupported }

func fdatasync(f *os.File) error { return f.Sync() }

func free(string) (int64, error) { return math.MaxInt64, nil }
