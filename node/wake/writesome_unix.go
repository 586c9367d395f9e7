//go:build unix

package wake

import (
	"net"
	"syscall"
)

// Raw gives the connection's descriptor, where bytes that are written to it are bytes of the connection (not those of TLS); nil elsewhere.
func Raw(conn net.Conn) syscall.RawConn {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// WriteSome writes as many bytes as the connection takes without waiting, and gives their number: what who ends a burst may do himself (Sleeper). An error is none here: whoever writes the rest meets it.
func WriteSome(raw syscall.RawConn, b []byte) (n int) {
	err := raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), b)
		return true
	})
	if err != nil {
		return 0
	}
	return max(n, 0)
}
