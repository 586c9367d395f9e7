package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// rpcBytes is the size of a message, and of its answer.
const rpcBytes = 200

// measureRPC measures calls of node/rpc that are echoed, a window of them in flight, against as many bytes that are echoed over a bare connection.
// CPU is both sides'.
func measureRPC(ctx context.Context, prefix string, window int, d time.Duration) (l Limit, err error) {
	l = Limit{Name: fmt.Sprintf("RPC: %d B there and back, %d in flight", rpcBytes, window), Bound: "loopback TCP, bytes alone"}
	for _, side := range []struct {
		into *storage.Cost
		run  func(ctx context.Context, prefix string, window int, until time.Time) (int64, error)
	}{{&l.Limit, echoBytes}, {&l.Nodedb, echoCalls}} {
		var m meter
		begun, before := time.Now(), m.read()
		n, err := side.run(ctx, prefix, window, begun.Add(d))
		if err = errors.Join(err, ctx.Err()); err != nil {
			return l, fmt.Errorf("%s: %w", l.Name, err)
		}
		*side.into = storage.Cost{PerSecond: float64(n) / time.Since(begun).Seconds(), CPU: perOp(m.read().since(before).client, n)}
	}
	return l, nil
}

// echoBytes keeps a window of messages' bytes on their way, and counts messages that came back.
func echoBytes(ctx context.Context, prefix string, window int, until time.Time) (n int64, err error) {
	l, err := net.Listen("tcp", prefix+".1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		echo(l)
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return 0, err
	}
	defer func() { c.Close(); <-ended }()
	out, in := make([]byte, window*rpcBytes), make([]byte, window*rpcBytes)
	ready, partial := window, 0 // messages that may be sent; bytes of one that is half back
	for time.Now().Before(until) && ctx.Err() == nil {
		if ready > 0 {
			if _, err := c.Write(out[:ready*rpcBytes]); err != nil {
				return n, err
			}
		}
		got, err := c.Read(in)
		if err != nil {
			return n, err
		}
		ready, partial = (partial+got)/rpcBytes, (partial+got)%rpcBytes
		n += int64(ready)
	}
	return n, nil
}

// echo sends the bytes of one connection back.
func echo(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// echoCalls is the same by calls of node/rpc.
func echoCalls(ctx context.Context, prefix string, window int, until time.Time) (n int64, err error) {
	var ends [2]*rpc.TCP
	for i := range ends {
		ends[i], err = rpc.Listen(fmt.Sprintf("%s.%d:0", prefix, i+1), rpc.Options{
			Identity: rpc.Identity{HostID: vnodes.HostID{byte(i + 1)}, ClusterName: "bench", ClusterID: [16]byte{1}}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return 0, err
		}
		defer func(c io.Closer) { err = errors.Join(err, c.Close()) }(ends[i])
	}
	ends[1].Handle(rpc.VerbWrite, func(in *rpc.Inbound) { in.Reply(in.Body, nil) })
	ends[1].Serve()
	type slot struct {
		rpc.Call
		err error
	}
	slots, body := make(chan *slot, window), make([]byte, rpcBytes)
	to := rpc.Peer{ID: vnodes.HostID{2}, Addr: ends[1].Addr().String()}
	for range window {
		c := &slot{Call: rpc.Call{To: to, Verb: rpc.VerbWrite, Body: body, Timeout: requestTimeout}}
		c.Done = func(_ []byte, err error) {
			c.err = err
			slots <- c
		}
		slots <- c
	}
	for ; time.Now().Before(until) && ctx.Err() == nil; n++ {
		c := <-slots
		if c.err != nil {
			return n, c.err
		}
		ends[0].Send(&c.Call)
	}
	for range window {
		<-slots
	}
	return n, nil
}
