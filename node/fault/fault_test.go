package fault

import (
	"errors"
	"slices"
	"sync"
	"testing"
)

var testPoint = New("fault/test-point")

func TestPointIsOffUntilEnabledAndAgainAfter(t *testing.T) {
	boom := errors.New("boom")
	if err := testPoint.Hit(); err != nil {
		t.Fatalf("off, yet Hit gave %v", err)
	}
	disable, err := Enable("fault/test-point", func() error { return boom })
	if err != nil {
		t.Fatal(err)
	}
	if err := testPoint.Hit(); err != boom {
		t.Fatalf("on, Hit gave %v", err)
	}
	disable()
	disable()
	if err := testPoint.Hit(); err != nil {
		t.Fatalf("off again, Hit gave %v", err)
	}
}

func TestASecondEnableReplacesTheFirst(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	disableFirst, _ := Enable("fault/test-point", func() error { return first })
	disableSecond, _ := Enable("fault/test-point", func() error { return second })
	disableFirst() // must not switch the second one off
	if err := testPoint.Hit(); err != second {
		t.Fatalf("Hit gave %v", err)
	}
	disableSecond()
}

func TestUnknownAndDuplicateNames(t *testing.T) {
	if _, err := Enable("fault/nowhere", func() error { return nil }); err == nil {
		t.Error("Enable of an unknown point must fail")
	}
	defer func() {
		if recover() == nil {
			t.Error("a name declared twice must panic")
		}
	}()
	New("fault/test-point")
}

func TestNames(t *testing.T) {
	if names := Names(); !slices.Contains(names, testPoint.Name()) || !slices.IsSorted(names) {
		t.Errorf("Names gave %q", names)
	}
}

func TestConcurrentHits(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if err := testPoint.Hit(); err != nil && err.Error() != "boom" {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		disable, _ := Enable("fault/test-point", func() error { return errors.New("boom") })
		disable()
	}
	wg.Wait()
	if err := testPoint.Hit(); err != nil {
		t.Errorf("off, yet Hit gave %v", err)
	}
}

// BenchmarkHitOff less BenchmarkLoop is what a point costs that is off. They count to b.N: in a loop over b.Loop nothing is inlined, as Hit is where it ships.
func BenchmarkHitOff(b *testing.B) {
	for range b.N {
		if err := testPoint.Hit(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoop(b *testing.B) {
	for range b.N {
	}
}
