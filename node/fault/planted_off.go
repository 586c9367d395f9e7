//go:build !planted

package fault

// Planted reports whether the planted bug of this name is on: a mistake left in the product on purpose, to see that some test fails on it. What
// ships is built without the tag planted: Planted is then a constant that the compiler folds, so that of
//
//	if fault.Planted("row/merge-keeps-older") { … }
//
// neither branch nor name is left in the binary (node/sim/planted holds that to a test). Names are "package/mistake"; planted.go lists them.
func Planted(name string) bool { return false }
