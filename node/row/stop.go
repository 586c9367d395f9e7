package row

// WithStop gives a page that read everything asked for a stop, because more was wanted than was asked of its replica. A page that has one
// keeps it. It may change the page's bytes.
func WithStop(page []byte, stop *Position) ([]byte, error) {
	var r PageReader
	r.Reset(page)
	for {
		ev, err := r.Next()
		if err != nil {
			return nil, err
		}
		if ev != PageEnd {
			continue
		}
		switch {
		case r.Stop() != nil:
			return page, nil
		case len(page) == 0:
			page = append(page, pageVersion)
		default:
			page = page[:len(page)-1] // tagEnd
		}
		return stop.Append(append(page, tagStop)), nil
	}
}
