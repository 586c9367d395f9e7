//go:build !unix

package wake

import (
	"net"
	"syscall"
)

// Raw gives nothing: nobody writes but who waits for the connection.
func Raw(net.Conn) syscall.RawConn { return nil }

// WriteSome is not called without what Raw gives.
func WriteSome(syscall.RawConn, []byte) int { return 0 }
