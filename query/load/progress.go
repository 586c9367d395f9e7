package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/mattn/go-isatty"
)

// bar shows a load on a terminal; nil shows nothing.
type bar struct {
	bar   *pb.ProgressBar
	stop  chan struct{}
	owned sync.WaitGroup
}

const barPeriod = 200 * time.Millisecond

// startBar shows the bytes of the input, where their number is known, with the rows acknowledged.
func startBar(l *loader) *bar {
	f := l.o.Progress
	if f == nil || !isatty.IsTerminal(f.Fd()) {
		return nil
	}
	template := `{{string . "table"}} {{counters . }} {{string . "rows"}}`
	if l.in.size > 0 {
		template = `{{string . "table"}} {{bar . }} {{percent . }} {{string . "rows"}} {{rtime . "%s left"}}`
	}
	b := &bar{bar: pb.New64(l.in.size).SetTemplateString(template).SetWriter(f).SetRefreshRate(barPeriod).Set(pb.Bytes, true), stop: make(chan struct{})}
	b.bar.Set("table", l.keyspace+"."+l.table).Set("rows", "")
	b.bar.Start()
	b.owned.Go(func() {
		tick := time.NewTicker(barPeriod)
		defer tick.Stop()
		for {
			b.show(l)
			select {
			case <-tick.C:
			case <-b.stop:
				b.show(l)
				return
			}
		}
	})
	return b
}

func (b *bar) show(l *loader) {
	s := l.summary()
	b.bar.SetCurrent(l.in.read.Load())
	b.bar.Set("rows", fmt.Sprintf("%d rows, %d rejects, %.0f rows/s", s.Rows, s.Rejects, s.RowsPerSec))
}

func (b *bar) finish() {
	if b == nil {
		return
	}
	close(b.stop)
	b.owned.Wait()
	b.bar.Finish()
}
