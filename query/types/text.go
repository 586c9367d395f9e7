package types

import (
	"net/netip"
	"strconv"
	"strings"
)

// style says for whom a value is written.
type style uint8

const (
	plain   style = iota // a cell in a table or a CSV field: text without quotes
	nested               // inside a collection in such a cell: text quoted, else as plain
	literal              // CQL source
)

// AppendText appends a value as cqlsh prints it in a table: text without quotes, timestamps 2013-01-01 10:00:00.000000+0000, blobs 0x…, null as null.
func (t *Type) AppendText(dst, value []byte) []byte { return t.appendStyled(dst, value, plain) }

// AppendLiteral appends a value as a CQL literal that parses back to it (text quoted). An empty value of a type that is not text has no
// literal of its own in CQL; it is written as Cassandra's conversion function, blob_as_int(0x).
func (t *Type) AppendLiteral(dst, value []byte) []byte { return t.appendStyled(dst, value, literal) }

func (t *Type) appendStyled(dst, b []byte, st style) []byte {
	s := t.Kind.scalar()
	switch {
	case b == nil:
		return append(dst, "null"...)
	case t.Kind == Blob || t.Kind == Custom:
		return appendBlob(dst, b)
	case t.IsText():
		if st == plain {
			return append(dst, b...)
		}
		return appendQuoted(dst, b)
	case s == nil:
		return t.appendNested(dst, b, st)
	case len(b) == 0:
		return appendEmpty(dst, s.name, st)
	case s.quoted && st != plain:
		return append(t.appendScalar(append(dst, '\''), b, st), '\'')
	}
	return t.appendScalar(dst, b, st)
}

func appendEmpty(dst []byte, name string, st style) []byte {
	switch st {
	case nested:
		return append(dst, "''"...)
	case literal:
		return append(append(append(dst, "blob_as_"...), name...), "(0x)"...)
	}
	return dst
}

// appendQuoted appends a text in single quotes, those in it doubled.
func appendQuoted(dst, b []byte) []byte {
	dst = append(dst, '\'')
	for _, c := range b {
		if c == '\'' {
			dst = append(dst, '\'')
		}
		dst = append(dst, c)
	}
	return append(dst, '\'')
}

// appendScalar appends a scalar that is neither empty nor text, without quotes. A value that is not valid is shown as its bytes.
func (t *Type) appendScalar(dst, b []byte, st style) []byte {
	if w := t.Kind.scalar().width; w > 0 && len(b) != w {
		return appendBlob(dst, b)
	}
	switch t.Kind {
	case Boolean:
		return appendBool(dst, b, st)
	case Int, Bigint, Counter, Smallint, Tinyint:
		return strconv.AppendInt(dst, Integer(b), 10)
	case Float:
		return appendFloat(dst, float64(Float32(b)), 32)
	case Double:
		return appendFloat(dst, Float64(b), 64)
	case UUID, Timeuuid:
		return AppendUUID(dst, b)
	case Timestamp:
		return appendTimestampStyled(dst, b, st)
	case Date:
		return appendDate(dst, int64(Uint32(b))-DateCenter)
	}
	if t.Validate(b) != nil {
		return appendBlob(dst, b)
	}
	switch t.Kind {
	case Varint:
		return DecodeVarint(b).Append(dst, 10)
	case Decimal:
		return appendDecimal(dst, b)
	case Time:
		return appendTime(dst, Int64(b))
	case Inet:
		addr, _ := netip.AddrFromSlice(b)
		return addr.AppendTo(dst)
	}
	d, _ := DecodeDuration(b)
	return d.AppendText(dst)
}

func appendBool(dst, b []byte, st style) []byte {
	switch {
	case Bool(b) && st == literal:
		return append(dst, "true"...)
	case Bool(b):
		return append(dst, "True"...)
	case st == literal:
		return append(dst, "false"...)
	}
	return append(dst, "False"...)
}

func appendTimestampStyled(dst, b []byte, st style) []byte {
	if st == literal {
		dst, _ = appendTimestamp(dst, Int64(b), 3, "+0000")
		return dst
	}
	dst, _ = appendTimestamp(dst, Int64(b), 6, "+0000")
	return dst
}

// brackets of the nested kinds.
func (t *Type) brackets() (open, end byte) {
	switch t.Kind {
	case List, Vector:
		return '[', ']'
	case Tuple:
		return '(', ')'
	}
	return '{', '}'
}

func (t *Type) appendNested(dst, b []byte, st style) []byte {
	if st == plain {
		st = nested
	}
	open, end := t.brackets()
	dst = append(dst, open)
	it := t.Elements(b)
	for it.Next() {
		switch i := it.Index(); {
		case t.Kind == Map && i&1 == 1:
			dst = append(dst, ": "...)
		case i > 0:
			dst = append(dst, ", "...)
		}
		if t.Kind == UDT {
			dst = append(AppendIdentifier(dst, t.Fields[it.Index()]), ": "...)
		}
		dst = it.Type().appendStyled(dst, it.Value(), st)
	}
	return append(dst, end)
}

// ParseText reads a value from plain text (CSV): what AppendText writes, and every form a CQL string or number literal of the type may have.
// The empty text is the empty value where the type has one.
func (t *Type) ParseText(s string) ([]byte, error) {
	if t.Kind.scalar() != nil || t.Kind == Custom {
		return t.parseScalar(s)
	}
	p := literalParser{text: s}
	v, err := p.nested(t)
	if err != nil {
		return nil, err
	}
	if p.blank(); p.at < len(s) {
		return nil, p.errorf(t, "%q follows the value", clip(s[p.at:]))
	}
	return v, nil
}

// parseScalar reads a scalar. It never gives nil without an error.
func (t *Type) parseScalar(s string) (b []byte, err error) {
	if s == "" && t.AllowsEmpty() {
		return []byte{}, nil
	}
	switch t.Kind {
	case Varchar, Ascii:
		b = []byte(s)
		return b, t.Validate(b)
	case Int, Bigint, Counter, Smallint, Tinyint:
		return t.parseInteger(s)
	case Float, Double:
		return t.parseFloating(s)
	case Boolean:
		switch {
		case strings.EqualFold(s, "true"):
			return []byte{1}, nil
		case strings.EqualFold(s, "false"):
			return []byte{0}, nil
		}
		return nil, t.valueError("%q is neither true nor false", clip(s))
	case Blob, Custom:
		return parseBlob(s)
	case Date, Time, Timestamp, Duration:
		return t.parseTemporal(s)
	case UUID, Timeuuid:
		u, err := ParseUUID(s)
		if err != nil {
			return nil, err
		}
		return u[:], t.Validate(u[:])
	case Inet:
		return parseInet(s)
	case Varint:
		v, err := ParseVarint(s)
		if err != nil {
			return nil, err
		}
		b = AppendVarint(nil, v)
		return b, t.Validate(b)
	}
	d, err := ParseDecimal(s)
	if err != nil {
		return nil, err
	}
	b = AppendDecimal(nil, d)
	return b, t.Validate(b)
}

func (t *Type) parseInteger(s string) ([]byte, error) {
	width := t.Kind.scalar().width
	v, err := strconv.ParseInt(s, 10, 8*width)
	if err != nil {
		if numError, ok := err.(*strconv.NumError); ok && numError.Err == strconv.ErrRange {
			return nil, t.valueError("%s is out of its range, %d to %d", clip(s), -1<<(8*width-1), uint64(1)<<(8*width-1)-1)
		}
		return nil, t.valueError("%q is not an integer", clip(s))
	}
	switch width {
	case 1:
		return []byte{byte(v)}, nil
	case 2:
		return AppendInt16(nil, int16(v)), nil
	case 4:
		return AppendInt32(nil, int32(v)), nil
	}
	return AppendInt64(nil, v), nil
}

func (t *Type) parseFloating(s string) ([]byte, error) {
	width := t.Kind.scalar().width
	f, err := parseFloat(s, 8*width)
	if err != nil {
		return nil, err
	}
	if width == 4 {
		return AppendFloat(nil, float32(f)), nil
	}
	return AppendDouble(nil, f), nil
}

func (t *Type) parseTemporal(s string) ([]byte, error) {
	var v int64
	var err error
	switch t.Kind {
	case Date:
		day, err := ParseDate(s)
		if err != nil {
			return nil, err
		}
		return AppendUint32(nil, day), nil
	case Duration:
		d, err := ParseDuration(s)
		if err != nil {
			return nil, err
		}
		return AppendDuration(nil, d), nil
	case Time:
		v, err = ParseTime(s)
	default:
		v, err = ParseTimestamp(s)
	}
	if err != nil {
		return nil, err
	}
	return AppendInt64(nil, v), nil
}

func parseInet(s string) ([]byte, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return nil, InetType.valueError("%q is not an IPv4 or IPv6 address", clip(s))
	}
	return addr.Unmap().AsSlice(), nil // as Java: ::ffff:1.2.3.4 is 1.2.3.4
}
