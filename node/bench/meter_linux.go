package bench

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is what /proc/PID/stat counts in: USER_HZ, which is 100 on every Linux.
const tick = 10 * time.Millisecond

// sumOf adds up what a file of each process tells. One that ended counts nothing.
func sumOf(pids []int, file string, tell func(raw []byte) int64) (sum int64) {
	for _, pid := range pids {
		if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)); err == nil {
			sum += tell(raw)
		}
	}
	return sum
}

func number(text []byte) int64 {
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	return n
}

// serverCPU is the CPU time, user and system, that processes have used.
func serverCPU(pids []int) time.Duration {
	return tick * time.Duration(sumOf(pids, "stat", func(raw []byte) int64 {
		// pid (name) state ppid …: the name may hold anything, so fields count from the last parenthesis; utime and stime are 14 and 15 of all.
		fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
		return number(fields[11]) + number(fields[12])
	}))
}

// serverResident is the memory that processes have resident, in bytes.
func serverResident(pids []int) int64 {
	return sumOf(pids, "statm", func(raw []byte) int64 {
		fields := bytes.Fields(raw)
		if len(fields) < 2 {
			return 0
		}
		return number(fields[1]) * int64(os.Getpagesize())
	})
}

// serverWritten is what processes have had written to disks, in bytes: pages that they dirtied, so what a file system adds is not in it.
func serverWritten(pids []int) int64 {
	return sumOf(pids, "io", func(raw []byte) int64 {
		_, after, _ := bytes.Cut(raw, []byte("\nwrite_bytes: "))
		line, _, _ := bytes.Cut(after, []byte("\n"))
		return number(line)
	})
}

// allocated is what a file takes on disk.
func allocated(info os.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}

// listeners gives the processes of this machine that listen on the hosts, as far as this user may look.
func listeners(hosts []string) (pids []int) {
	wanted := map[string]bool{}
	for _, h := range hosts {
		addr, err := net.ResolveTCPAddr("tcp4", h)
		if err != nil || !addr.IP.IsLoopback() {
			continue
		}
		for _, inode := range listening(addr) {
			wanted["socket:["+inode+"]"] = true
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && wanted[target] {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// listening gives the inodes of the sockets that listen on an address, from /proc/net/tcp and tcp6:
//
//	n: local address:port (hex, in words of the machine's order) | remote | state (0A: listen) | … | inode is the tenth field
func listening(addr *net.TCPAddr) (inodes []string) {
	ip := slices.Clone(addr.IP.To4())
	slices.Reverse(ip)
	four := fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(ip)), addr.Port)
	mapped := "0000000000000000FFFF0000" + four // what a Java server listens on
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		raw, _ := os.ReadFile(name)
		for _, line := range strings.Split(string(raw), "\n") {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && (f[1] == four || f[1] == mapped) {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes
}

// pause sleeps, more exactly than the runtime's timers do, which round up to a millisecond when nothing else happens.
func pause(d time.Duration) {
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&ts, nil)
}
