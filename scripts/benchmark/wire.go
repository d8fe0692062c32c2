package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// wire is a client with one connection that is kept alive. It does no more than it has to, since it shares the
// processors with the server that is measured: net/http's client would take longer than most handlers.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

// callTime is how long an answer may take.
const callTime = 10 * time.Second

func dialWire(addr string) (*wire, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (w *wire) close() { w.conn.Close() }

// post is the request that [wire.send] sends.
func post(addr, path string, body []byte) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, addr, len(body))
	return append([]byte(head), body...)
}

var errAnswer = errors.New("the server's answer is not understood")

// send sends a request and returns the answer, whose body is good until the next one.
func (w *wire) send(request []byte) (status int, body []byte, err error) {
	if err := w.conn.SetDeadline(time.Now().Add(callTime)); err != nil {
		return 0, nil, err
	}
	if _, err := w.conn.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := w.line()
	if err != nil {
		return 0, nil, err
	}
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	if status, err = strconv.Atoi(string(code)); err != nil || string(version) != "HTTP/1.1" {
		return 0, nil, fmt.Errorf("%w: it starts with %q", errAnswer, line)
	}
	length := -1
	for {
		if line, err = w.line(); err != nil {
			return 0, nil, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, fmt.Errorf("%w: %q", errAnswer, line)
			}
		}
	}
	if length < 0 {
		return 0, nil, fmt.Errorf("%w: it has no Content-Length", errAnswer)
	}
	if cap(w.body) < length {
		w.body = make([]byte, length)
	}
	w.body = w.body[:length]
	_, err = io.ReadFull(w.in, w.body)
	return status, w.body, err
}

// line is the next line of the head, without its end.
func (w *wire) line() ([]byte, error) {
	line, err := w.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}
