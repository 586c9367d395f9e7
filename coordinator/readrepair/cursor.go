package readrepair

import (
	"bytes"
	"fmt"

	"nodedb/node/row"
	"nodedb/vnodes"
)

// cursor walks one page. It stands at a partition's header, at a row, or at the end; event says where.
type cursor struct {
	reader row.PageReader
	event  row.Event
}

// open goes to the first partition and gives the page's stop. It reads the page through once for it: stops stand last.
func (c *cursor) open(page []byte) (stop *row.Position, err error) {
	c.reader.Reset(page)
	for c.event = row.PageRow; c.event != row.PageEnd; {
		if c.event, err = c.reader.Next(); err != nil {
			return nil, err
		}
		if c.event == row.PageCount {
			return nil, fmt.Errorf("%w: rows were asked for, a page has their number", row.ErrCorrupt)
		}
	}
	stop = c.reader.Stop()
	c.reader.Reset(page)
	c.event, err = c.reader.Next()
	return stop, err
}

// at reports whether the cursor is in the partition: at its header or one of its rows.
func (c *cursor) at(token vnodes.Token, key []byte) bool {
	return c.event != row.PageEnd && c.reader.Token == token && bytes.Equal(c.reader.Key, key)
}

func (c *cursor) atRow(clustering []byte) bool {
	return c.event == row.PageRow && bytes.Equal(c.reader.Clustering, clustering)
}

// nextRow goes on from a header or row. Rows have to ascend in read order.
func (c *cursor) nextRow(o order) error {
	before, wasRow := c.reader.Clustering, c.event == row.PageRow
	event, err := c.reader.Next()
	if err != nil {
		return err
	}
	c.event = event
	if wasRow && event == row.PageRow && o.compareRows(before, c.reader.Clustering) >= 0 {
		return fmt.Errorf("%w: rows of a page are out of order", row.ErrCorrupt)
	}
	return nil
}

// checkOrder says whether the next partition comes after the one given.
func (c *cursor) checkOrder(token vnodes.Token, key []byte) error {
	if c.event == row.PagePartition && comparePartitions(c.reader.Token, c.reader.Key, token, key) <= 0 {
		return fmt.Errorf("%w: partitions of a page are out of order", row.ErrCorrupt)
	}
	return nil
}
