package main

// slackBytes is how much garbage a node makes before it is collected, beside as much as is alive. A node's live heap is small (what is large, caches and
// memtables, lies outside it or comes later), so without it the collector would run every 4 MB: twenty times a second at 20,000 requests a second.
const slackBytes = 32 << 20

// slack is never touched: it takes address space, no memory. The collector lets the heap double, and counts it.
var slack []byte

// growHeapFirst is called once, by a process that is a node.
func growHeapFirst() { slack = make([]byte, slackBytes) }
