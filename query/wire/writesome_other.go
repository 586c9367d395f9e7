//go:build !unix

package wire

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

func writeSome(syscall.RawConn, []byte) int { return 0 }
