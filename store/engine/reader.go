package engine

// readerLimits bound what the read-only user may use.
type readerLimits struct {
	maxSeconds int64
	maxMemory  int64
	maxBytes   int64
}

func (l readerLimits) apply(req *request) error { return nil }
