//go:build planted

package fault

import (
	"fmt"
	"os"
	"strings"
)

// Environment names the one planted bug that is on in this process. Empty: none, the product as it ships.
const Environment = "NODEDB_PLANTED"

// Bug is a mistake that the tag planted compiles in.
type Bug struct{ Name, Mistake string }

// planted is the name of the bug that is on, read once.
var planted = chosen()

func chosen() string {
	name := os.Getenv(Environment)
	if name == "" {
		return ""
	}
	for _, b := range Bugs {
		if b.Name == name {
			return name
		}
	}
	var list strings.Builder
	for _, b := range Bugs {
		fmt.Fprintf(&list, "  %s\n", b.Name)
	}
	// A name that plants nothing would prove nothing.
	fmt.Fprintf(os.Stderr, "fault: %s=%s: no planted bug is called that; there are\n%s", Environment, name, list.String())
	os.Exit(2)
	return ""
}

// Planted reports whether the planted bug of this name is on. (Without the tag: never; see planted_off.go.)
func Planted(name string) bool { return name == planted }
