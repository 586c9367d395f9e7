package bench

import (
	"syscall"
	"time"
)

// meter reads what the server's processes and this one have used.
type meter struct{ pids []int }

// usage is CPU time.
type usage struct{ server, client time.Duration }

func (m *meter) read() usage {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return usage{server: serverCPU(m.pids), client: time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

func (u usage) since(before usage) usage {
	return usage{u.server - before.server, u.client - before.client}
}

// resident is the servers' memory, in bytes.
func (m *meter) resident() int64 { return serverResident(m.pids) }
