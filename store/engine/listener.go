package engine

import (
	"net"
	"sync"
)

// maxClients bounds open connections: each costs the child a goroutine and
// buffers, and any local process may open them before it is asked who it is.
const maxClients = 256

// limitListener accepts a connection only when there is a slot for it; further
// ones wait in the kernel's backlog.
type limitListener struct {
	net.Listener
	slots chan struct{}
}

func (l *limitListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

type limitConn struct {
	net.Conn
	free func()
}

func (c *limitConn) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}
