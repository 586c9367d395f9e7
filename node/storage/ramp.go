package storage

// rampMemTables is how many memtables may wait for a flush beside the one that is written to.
const rampMemTables = 3

// flushRamp flushes the small memtables that Pebble begins with. Its first has 256 KiB and each next one twice as much, and it flushes none before they have
// half of memTableBytes together: up to seven lie in memory then, and a row of merge operands is looked for in all of them, which costs more than anything else in
// its read. So when a fourth is full they are flushed, and again with each next one, until memtables are large.
func (e *Engine) flushRamp() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.rotated:
		}
		if e.failed.Load() != nil || e.space.full.Load() || e.db.Metrics().MemTable.Count <= rampMemTables+1 {
			continue
		}
		flushed, err := e.db.AsyncFlush()
		if err != nil {
			continue // it is a courtesy
		}
		select {
		case <-e.stop:
			return
		case <-flushed:
		}
	}
}

// logCreated is told of each new log, so of each new memtable. It must not block.
func (e *Engine) logCreated() {
	e.pace.changed()
	select {
	case e.rotated <- struct{}{}:
	default: // flushRamp has yet to look
	}
}
