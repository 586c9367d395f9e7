package rpc

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"nodedb/node/wake"
)

// tcpPair gives both ends of a connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.61.1.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// put appends bytes as a frame is appended.
func (w *writer) put(b []byte) {
	buf, ok := w.lock(len(b))
	if ok {
		buf = append(buf, b...)
	}
	w.unlock(buf)
}

// Who ends a burst writes it: there is no other goroutine here that could.
func TestTheBurstIsWrittenByWhoBroughtIt(t *testing.T) {
	near, far := tcpPair(t)
	var w writer
	var cork wake.Cork
	var sent atomic.Int64
	w.init(1<<20, &sent, &cork)
	w.raw, w.mu.asleep = wake.Raw(near), true
	cork.Hold()
	w.put([]byte("one "))
	w.put([]byte("burst"))
	if sent.Load() != 0 {
		t.Error("written in the middle of the burst")
	}
	cork.Release()
	got := make([]byte, 9)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "one burst" || sent.Load() != 9 {
		t.Errorf("%q, %v; %d bytes counted", got, err, sent.Load())
	}
	if len(w.wake) != 0 {
		t.Error("the writer's goroutine was woken, too")
	}
}

// A peer that reads late gets every byte in order, whoever wrote it: what the connection didn't take at once is written by the goroutine, before what came later.
func TestBurstsThatTheConnectionDoesNotTake(t *testing.T) {
	const bursts, size = 400, 20_000 // 8 MB: more than the kernel keeps for a connection
	near, far := tcpPair(t)
	var w writer
	var cork wake.Cork
	var sent atomic.Int64
	w.init(bursts*size, &sent, &cork)
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.run(near); err != nil {
			t.Error(err)
		}
	})
	var want bytes.Buffer
	for i := range bursts {
		cork.Hold()
		half := bytes.Repeat([]byte{byte(i)}, size/2)
		w.put(half)
		want.Write(half)
		w.put(half)
		want.Write(half)
		cork.Release()
	}
	got := make([]byte, bursts*size)
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("what came differs: %v", err)
	}
	w.close()
	all.Wait()
	if sent.Load() != bursts*size {
		t.Errorf("%d bytes counted", sent.Load())
	}
}
