package api

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// listener accepts connections for a server until that stops. Those that a client has made by then are accepted too,
// since it may have sent a request on them.
type listener struct {
	net.Listener
	all    *connections
	once   sync.Once
	closed chan struct{}
}

func newListener(l net.Listener, all *connections) *listener {
	return &listener{Listener: l, all: all, closed: make(chan struct{})}
}

// takeIn is how long a connection that waits is given to be accepted: it is there.
const takeIn = 10 * time.Millisecond

// Accept returns net.ErrClosed once the server stops and nobody waits any more.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
			if c := l.all.add(nc); c != nil {
				return c, nil
			}
			nc.Close()
		case isTimeout(err) && l.all.isStopping() && someoneWaits(l.Listener):
			_ = l.wakeAfter(takeIn) // or the next Accept says what is wrong
		case l.all.isStopping():
			l.Close()
			return nil, net.ErrClosed
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE): // http.Server tries again
			l.all.mu.Lock()
			l.all.makeWay()
			l.all.mu.Unlock()
			return nil, err
		default:
			return nil, err
		}
	}
}

// stop has the listener closed, once those who wait have been accepted, and waits for it.
func (l *listener) stop() {
	if l.wakeAfter(0) != nil {
		l.Close()
	}
	<-l.closed
}

// wakeAfter has Accept return after so long, if nobody comes.
func (l *listener) wakeAfter(d time.Duration) error {
	timed, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return timed.SetDeadline(time.Now().Add(d))
}

// Close closes it at once.
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() { close(l.closed) })
	return err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
