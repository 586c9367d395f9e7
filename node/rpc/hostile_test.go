package rpc

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func dialRaw(t *testing.T, tr *TCP) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", tr.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// closed reads until the other side closes.
func closed(t *testing.T, nc net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, nc); errors.Is(err, io.ErrNoProgress) || isTimeout(err) {
		t.Fatalf("the connection was not closed: %v", err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func greeting() []byte {
	return appendHello(appendPreamble(nil), &helloFrame{Identity: identity(7, 9), addr: "127.61.1.9:1"})
}

// Whatever comes, the connection is closed, the node goes on, and no handler runs.
func TestHostileBytesCloseTheConnection(t *testing.T) {
	b := newTCP(t, Options{Identity: identity(2, 9), MaxMessage: 1 << 20})
	b.Handle(VerbPing, echo)
	b.Handle(VerbWrite, func(in *Inbound) { t.Error("a handler ran"); in.Reply(nil, nil) })
	b.Serve()
	damaged := appendRequest(nil, 1<<32, &Call{Verb: VerbWrite, Body: []byte("x")}, time.Hour)
	damaged[len(damaged)-1] ^= 1
	for name, in := range map[string][]byte{
		"http":                 []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"another version":      append([]byte("NDBR"), 77),
		"garbage after magic":  append(appendPreamble(nil), make([]byte, 64)...),
		"no hello":             append(appendPreamble(nil), appendBare(nil, kindPing)...),
		"huge hello":           append(appendPreamble(nil), 0xff, 0xff, 0, 0),
		"damaged request":      append(greeting(), damaged...),
		"oversize":             append(greeting(), 0, 0, 0, 0x7f),
		"a response":           append(greeting(), appendResponse(nil, 1<<32, 0, 0, nil)...),
		"hello of another one": append(greeting(), appendHello(nil, &helloFrame{Identity: identity(7, 8)})...),
	} {
		t.Run(name, func(t *testing.T) {
			nc := dialRaw(t, b)
			if _, err := nc.Write(in); err != nil {
				t.Fatal(err)
			}
			closed(t, nc)
		})
	}
	a := newTCP(t, Options{Identity: identity(1, 9)})
	if r := call(a, b.self(), VerbPing, []byte("alive"), time.Minute); r.err != nil {
		t.Fatal(r.err)
	}
}

func TestSlowHelloIsClosed(t *testing.T) {
	b := newTCP(t, Options{Identity: identity(2, 9), HelloTimeout: 30 * time.Millisecond})
	b.Serve()
	nc := dialRaw(t, b)
	if _, err := nc.Write(greeting()[:20]); err != nil {
		t.Fatal(err)
	}
	closed(t, nc)
}

// Clients that say nothing use up only their own share; connections beyond it are closed at once, and those that did
// say hello go on.
func TestConnectionLimits(t *testing.T) {
	b := newTCP(t, Options{Identity: identity(2, 9), MaxHellos: 2, MaxConns: 4})
	b.Handle(VerbPing, echo)
	b.Serve()
	a := newTCP(t, Options{Identity: identity(1, 9), Backoff: time.Nanosecond, MaxBackoff: time.Nanosecond})
	if r := call(a, b.self(), VerbPing, nil, time.Minute); r.err != nil {
		t.Fatal(r.err)
	}
	silent := []net.Conn{dialRaw(t, b), dialRaw(t, b)}
	closed(t, dialRaw(t, b))
	if r := call(a, b.self(), VerbPing, nil, time.Minute); r.err != nil {
		t.Fatal(r.err)
	}
	for _, nc := range silent { // now they do say hello: three connections of four are in use
		if _, err := nc.Write(greeting()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, len(appendPreamble(nil))+headerSize)); err != nil {
			t.Fatal(err)
		}
	}
	fourth := dialRaw(t, b)
	if _, err := fourth.Write(greeting()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(fourth, make([]byte, preambleSize)); err != nil {
		t.Fatal(err)
	}
	closed(t, dialRaw(t, b))
	for _, nc := range append(silent, fourth) {
		nc.Close()
	}
	third := newTCP(t, Options{Identity: identity(3, 9), Backoff: time.Nanosecond, MaxBackoff: time.Nanosecond})
	for { // room again as soon as the server has noticed
		if r := call(third, b.self(), VerbPing, nil, time.Minute); r.err == nil {
			break
		} else if !errors.Is(r.err, ErrUnreachable) {
			t.Fatal(r.err)
		}
	}
}

// A peer that sends requests and never reads the responses loses its connection, not our memory.
func TestPeerThatDoesNotRead(t *testing.T) {
	b := newTCP(t, Options{Identity: identity(2, 9), QueueBytes: 1 << 20, Silence: time.Hour})
	b.Handle(VerbStream, func(in *Inbound) { in.Reply(make([]byte, 4<<20), nil) })
	b.Serve()
	nc := dialRaw(t, b)
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(greeting()); err != nil {
		t.Fatal(err)
	}
	req := appendRequest(nil, 1<<32, &Call{Verb: VerbStream}, time.Hour)
	for range 64 {
		if _, err := nc.Write(req); err != nil {
			return // closed while we were still asking
		}
	}
	if n, err := io.Copy(io.Discard, nc); isTimeout(err) || n >= 64*4<<20 {
		t.Fatalf("got %d bytes, %v", n, err)
	}
}
