package wire

// NoSerial in Params.Serial says that no serial consistency is given.
const NoSerial uint16 = 0

// queryFlag is a bit of the flags before a request's parameters: a [byte] in v4, an [int] in v5.
type queryFlag uint32

const (
	flagValues       queryFlag = 0x01
	flagSkipMetadata queryFlag = 0x02
	flagPageSize     queryFlag = 0x04
	flagPagingState  queryFlag = 0x08
	flagSerial       queryFlag = 0x10
	flagTimestamp    queryFlag = 0x20
	flagNames        queryFlag = 0x40
	flagKeyspace     queryFlag = 0x80  // v5
	flagNow          queryFlag = 0x100 // v5
)

// Params are the parameters of QUERY, EXECUTE and BATCH (a batch has no values, names or paging of its own).
//
//	v4  consistency [short] | flags [byte] | …
//	v5  consistency [short] | flags [int]  | …
//	… = n [short], n × (name [string] when named, [value]) | page size [int] | paging state [bytes] | serial [short] |
//	    timestamp [long] | keyspace [string] | now in seconds [int]      each only with its flag
type Params struct {
	Consistency  uint16
	Serial       uint16   // NoSerial: none given
	Values       [][]byte // positional, or by Names; nil is null
	Unset        []bool   // nil, or for each value: it is unset
	Names        []string // nil, or as long as Values
	SkipMetadata bool
	PageSize     int32 // rows; 0: not paged
	PageState    []byte
	HasTimestamp bool
	Timestamp    int64  // µs
	Keyspace     string // v5
	HasNow       bool
	NowInSeconds int32 // v5
}

func (p *Params) flags(v Version) queryFlag {
	f := p.commonFlags(v)
	if len(p.Values) > 0 {
		f |= flagValues
		if p.Names != nil {
			f |= flagNames
		}
	}
	if p.SkipMetadata {
		f |= flagSkipMetadata
	}
	if p.PageSize > 0 {
		f |= flagPageSize
	}
	if p.PageState != nil {
		f |= flagPagingState
	}
	return f
}

// commonFlags are those that a batch has too.
func (p *Params) commonFlags(v Version) (f queryFlag) {
	if p.Serial != NoSerial {
		f |= flagSerial
	}
	if p.HasTimestamp {
		f |= flagTimestamp
	}
	if v >= V5 && p.Keyspace != "" {
		f |= flagKeyspace
	}
	if v >= V5 && p.HasNow {
		f |= flagNow
	}
	return f
}

func appendFlags(dst []byte, f queryFlag, v Version) []byte {
	if v >= V5 {
		return AppendInt(dst, int32(f))
	}
	return append(dst, byte(f))
}

// Append appends the parameters of QUERY and EXECUTE.
func (p *Params) Append(dst []byte, v Version) []byte {
	f := p.flags(v)
	dst = AppendShort(dst, p.Consistency)
	dst = appendFlags(dst, f, v)
	if f&flagValues != 0 {
		dst = AppendShort(dst, uint16(len(p.Values)))
		for i := range p.Values {
			if p.Names != nil {
				dst = AppendString(dst, p.Names[i])
			}
			dst = appendValue(dst, p.Values, p.Unset, i)
		}
	}
	if f&flagPageSize != 0 {
		dst = AppendInt(dst, p.PageSize)
	}
	if f&flagPagingState != 0 {
		dst = AppendBytes(dst, p.PageState)
	}
	return p.appendTail(dst, f)
}

func appendValue(dst []byte, values [][]byte, unset []bool, i int) []byte {
	if unset != nil && unset[i] {
		return AppendUnset(dst)
	}
	return AppendBytes(dst, values[i])
}

func (p *Params) appendTail(dst []byte, f queryFlag) []byte {
	if f&flagSerial != 0 {
		dst = AppendShort(dst, p.Serial)
	}
	if f&flagTimestamp != 0 {
		dst = AppendLong(dst, p.Timestamp)
	}
	if f&flagKeyspace != 0 {
		dst = AppendString(dst, p.Keyspace)
	}
	if f&flagNow != 0 {
		dst = AppendInt(dst, p.NowInSeconds)
	}
	return dst
}

// Decode reads the parameters of QUERY and EXECUTE into p, whose slices are reused. Values and paging state alias the decoder's bytes.
func (p *Params) Decode(d *Decoder, v Version) {
	*p = Params{Values: p.Values[:0], Names: p.Names[:0]}
	p.Consistency = d.Short()
	f := decodeFlags(d, v)
	named := f&flagValues != 0 && f&flagNames != 0
	if f&flagValues != 0 {
		p.decodeValues(d, named)
	}
	if !named {
		p.Names = nil
	}
	p.SkipMetadata = f&flagSkipMetadata != 0
	if f&flagPageSize != 0 {
		p.PageSize = max(d.Int(), 0)
	}
	if f&flagPagingState != 0 {
		p.PageState = d.Bytes()
	}
	p.decodeTail(d, f)
}

func decodeFlags(d *Decoder, v Version) queryFlag {
	if v < V5 {
		return queryFlag(d.Byte())
	}
	return queryFlag(uint32(d.Int()))
}

// decodeValues reads a counted list of values; Unset stays nil when none is unset.
func (p *Params) decodeValues(d *Decoder, named bool) {
	size := 4
	if named {
		size = 6
	}
	n := d.count(size, "values")
	for i := range n {
		if named {
			p.Names = append(p.Names, d.String())
		}
		value, unset := d.Value()
		if unset {
			p.Unset = markUnset(p.Unset, i, n)
		}
		p.Values = append(p.Values, value)
	}
}

// markUnset says that value i of n is unset.
func markUnset(unset []bool, i, n int) []bool {
	if unset == nil {
		unset = make([]bool, n)
	}
	unset[i] = true
	return unset
}

func (p *Params) decodeTail(d *Decoder, f queryFlag) {
	if f&flagSerial != 0 {
		p.Serial = d.Short()
	}
	if f&flagTimestamp != 0 {
		p.HasTimestamp, p.Timestamp = true, d.Long()
	}
	if f&flagKeyspace != 0 {
		p.Keyspace = d.String()
	}
	if f&flagNow != 0 {
		p.HasNow, p.NowInSeconds = true, d.Int()
	}
}
