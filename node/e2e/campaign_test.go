package e2e

import (
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var campaign = flag.Float64("campaign", 0, "share of FAULTS.md's counts that its rows (TestRow…) run, 0 to 1; 0: the short form of each")

// count is how often a row does what it does: so often in the short form, or the campaign's share of the full count.
func count(short, full int) int {
	if *campaign == 0 {
		return short
	}
	return max(short, int(math.Ceil(*campaign*float64(full))))
}

// campaignOnly skips a row that has no short form.
func campaignOnly(t *testing.T, takes time.Duration) {
	t.Helper()
	if *campaign == 0 {
		t.Skipf("takes %s: run it with -campaign 0.2", takes)
	}
}

// begins is when a row began, to be given to its report.
func begins() time.Time { return time.Now() }

// report says a row's figures in the line that .ci/campaign gathers: row, test, figures, verdict.
func report(t *testing.T, row int, began time.Time, format string, args ...any) {
	t.Helper()
	verdict := "ok"
	if t.Failed() {
		verdict = "FAILED"
	}
	t.Logf("row %d: e2e/%s: %s, %.1f s: %s", row, t.Name(), fmt.Sprintf(format, args...), time.Since(began).Seconds(), verdict)
}

// inNamespace is the variable that tells a test binary that it runs in a network namespace of its own, and with which nodedb.
const inNamespace = "NODEDB_E2E_BINARY"

// isolated runs the calling test in a network namespace of its own, where it may drop packets: true inside, where the test goes on; false outside, where
// it has run when this returns.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	for _, tool := range [][2]string{{"nft", "nftables"}, {"unshare", "util-linux"}, {"ip", "iproute2"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Skipf("cuts the network between nodes with %s, which isn't there: install Debian's package %s", tool[0], tool[1])
		}
	}
	if os.Getuid() != 0 {
		t.Skip("cuts the network between nodes in a namespace of its own, which takes root")
	}
	cmd := exec.Command("unshare", "-n", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v",
		"-test.timeout=0", fmt.Sprintf("-campaign=%g", *campaign))
	cmd.Env = append(os.Environ(), inNamespace+"="+binary)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in its namespace: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if _, figures, ok := strings.Cut(line, ": row "); ok {
			t.Logf("row %s", strings.TrimSpace(figures))
		}
	}
	return false
}

// nft changes what the namespace's firewall drops.
func nft(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if out, err := exec.Command("nft", c).CombinedOutput(); err != nil {
			t.Fatalf("nft %s: %v: %s", c, err, out)
		}
	}
}

// pass lets time go by while a fault lasts: there is nothing else to wait for.
func pass(long time.Duration) { <-time.After(long) }
