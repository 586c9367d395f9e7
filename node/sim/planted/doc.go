// Package planted runs the tests against bugs that were left in the product on purpose (fault.Planted), and shows which test caught each: a bug
// that none catches is a test that is missing. It holds tests only, and imports node/fault. Start reading at TestPlanted (planted_test.go):
//
//	go test ./node/sim/planted -tags planted -run TestPlanted -timeout 0 -v
package planted
