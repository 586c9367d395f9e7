package types

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonStyle is for whom JSON is written.
type jsonStyle uint8

const (
	cassandraJSON jsonStyle = iota // as Cassandra writes it, to the byte
	clientJSON                     // decimals, NaN and infinities as strings, numbers as short as they go
)

// AppendJSON appends a value as JSON, as SELECT JSON writes it: decimals and varints exact numbers, floats as Java prints them, NaN and infinities null,
// map keys as strings, blobs "0x…", the empty value of other types "".
func (t *Type) AppendJSON(dst, value []byte) []byte { return t.appendJSON(dst, value, cassandraJSON) }

// AppendClientJSON appends a value as JSON for programs that read it. Decimals are strings, nested ones too: most readers of JSON make doubles of
// numbers, and a decimal is chosen to be exact. Varints are numbers, whose text is exact. NaN and infinities are strings, the empty value of a type that
// is not text is "".
func (t *Type) AppendClientJSON(dst, value []byte) []byte {
	return t.appendJSON(dst, value, clientJSON)
}

func (t *Type) appendJSON(dst, value []byte, style jsonStyle) []byte {
	s := t.Kind.scalar()
	switch {
	case value == nil:
		return append(dst, "null"...)
	case t.IsText():
		return AppendJSONString(dst, value)
	case s == nil && t.Kind != Custom:
		return t.appendNestedJSON(dst, value, style)
	case len(value) == 0 && t.Kind != Blob && t.Kind != Custom:
		return append(dst, `""`...)
	}
	if style == cassandraJSON {
		if out, ok := t.appendJavaJSON(dst, value); ok {
			return out
		}
	}
	switch t.Kind {
	case Boolean:
		return appendBool(dst, value, literal)
	case Timestamp:
		return appendJSONTimestamp(dst, value)
	case Int, Bigint, Counter, Smallint, Tinyint, Varint, Decimal:
		if !(t.Kind == Decimal && style == clientJSON) && t.Validate(value) == nil {
			return t.appendScalar(dst, value, literal)
		}
	case Float, Double:
		if f := t.float(value); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return t.appendScalar(dst, value, literal)
		}
	}
	dst = append(dst, '"')
	if t.Kind == Custom {
		return append(appendBlob(dst, value), '"')
	}
	return append(t.appendStyled(dst, value, plain), '"')
}

func (t *Type) float(b []byte) float64 {
	if t.Kind == Float {
		return float64(Float32(b))
	}
	return Float64(b)
}

func appendJSONTimestamp(dst, b []byte) []byte {
	at := len(dst)
	dst, date := appendTimestamp(append(dst, '"'), Int64(b), 3, "Z")
	if date {
		return append(dst, '"')
	}
	return append(dst[:at], dst[at+1:]...)
}

func (t *Type) appendNestedJSON(dst, b []byte, style jsonStyle) []byte {
	object := t.Kind == Map || t.Kind == UDT
	if object {
		dst = append(dst, '{')
	} else {
		dst = append(dst, '[')
	}
	it := t.Elements(b)
	for it.Next() {
		i := it.Index()
		switch {
		case t.Kind == Map && i&1 == 1:
			dst = append(dst, ": "...)
		case i > 0:
			dst = append(dst, ", "...)
		}
		if t.Kind == UDT {
			dst = append(AppendJSONString(dst, []byte(jsonField(t.Fields[i]))), ": "...)
		}
		if t.Kind == Map && i&1 == 0 {
			dst = it.Type().appendJSONKey(dst, it.Value(), style)
			continue
		}
		dst = it.Type().appendJSON(dst, it.Value(), style)
	}
	if object {
		return append(dst, '}')
	}
	return append(dst, ']')
}

// appendJSONKey appends a map's key: its JSON if that is a string, else its JSON in a string.
func (t *Type) appendJSONKey(dst, b []byte, style jsonStyle) []byte {
	at := len(dst)
	dst = t.appendJSON(dst, b, style)
	if dst[at] == '"' {
		return dst
	}
	text := string(dst[at:])
	return AppendJSONString(dst[:at], []byte(text))
}

// jsonField is a field's name in JSON: in double quotes (within the string) where case matters, as Cassandra writes it.
func jsonField(name string) string {
	if strings.ToLower(name) != name {
		return `"` + name + `"`
	}
	return name
}

// AppendJSONString appends a text as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		dst = appendJSONEscape(dst, c)
		i++
	}
	return append(dst, '"')
}

func appendJSONEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// FromJSON reads a value from JSON. Numbers stay exact; strings are read as ParseText would. null gives nil.
func (t *Type) FromJSON(raw json.RawMessage) ([]byte, error) {
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, t.valueError("%q is not JSON", clip(string(raw)))
	}
	return t.fromJSON(raw)
}

// fromJSON wants valid JSON.
func (t *Type) fromJSON(raw []byte) ([]byte, error) {
	raw = trimJSON(raw)
	if raw[0] == 'n' {
		return nil, nil
	}
	if t.Kind.scalar() == nil && t.Kind != Custom {
		return t.nestedFromJSON(raw)
	}
	switch raw[0] {
	case '"':
		s, err := t.unquoteJSON(raw)
		switch {
		case err != nil:
			return nil, err
		case s == "" && t.Kind == Blob:
			return nil, t.valueError("String representation of blob is missing 0x prefix")
		}
		return t.parseScalar(s)
	case 't', 'f':
		if t.Kind == Boolean {
			return t.parseScalar(string(raw))
		}
	case '{', '[':
	default:
		if t.jsonNumber() {
			return t.parseScalar(string(raw))
		}
	}
	return nil, t.valueError("the JSON value %s has the wrong type", clip(string(raw)))
}

// jsonNumber says whether a value of the type may be given as a JSON number.
func (t *Type) jsonNumber() bool {
	switch t.Kind {
	case Int, Bigint, Counter, Smallint, Tinyint, Varint, Decimal, Float, Double, Timestamp:
		return true
	}
	return false
}

// trimJSON cuts the white space of JSON off both ends.
func trimJSON(raw []byte) []byte {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
	for len(raw) > 0 && blank(raw[0]) {
		raw = raw[1:]
	}
	for len(raw) > 0 && blank(raw[len(raw)-1]) {
		raw = raw[:len(raw)-1]
	}
	return raw
}

func (t *Type) nestedFromJSON(raw []byte) ([]byte, error) {
	if raw[0] == '"' {
		// A collection as a string: a CQL literal of it, or a JSON map key.
		s, err := t.unquoteJSON(raw)
		if err != nil {
			return nil, err
		}
		return t.nestedFromString(s)
	}
	switch {
	case raw[0] == '{' && (t.Kind == Map || t.Kind == UDT):
		return t.objectFromJSON(raw)
	case raw[0] == '[' && t.Kind != Map && t.Kind != UDT:
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, t.valueError("%v", err)
		}
		if t.Kind == Tuple && len(items) < len(t.Elems) {
			return nil, t.valueError("Tuple is missing items (expected %d): %s", len(t.Elems), clip(string(raw)))
		}
		values := make([][]byte, len(items))
		for i, item := range items {
			var err error
			if values[i], err = t.elem(i).fromJSON(item); err != nil {
				return nil, err
			}
		}
		return t.assemble(values)
	}
	return nil, t.valueError("the JSON value %s has the wrong type", clip(string(raw)))
}

func (t *Type) nestedFromString(s string) ([]byte, error) {
	if json.Valid([]byte(s)) {
		if raw := trimJSON([]byte(s)); raw[0] == '{' || raw[0] == '[' {
			if v, err := t.nestedFromJSON(raw); err == nil {
				return v, nil
			}
		}
	}
	return t.ParseText(s)
}

// objectFromJSON reads a map or a user type. Of a repeated key the last value holds.
func (t *Type) objectFromJSON(raw []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, t.valueError("%v", err)
	}
	if t.Kind == UDT {
		return t.fieldsFromJSON(members)
	}
	values := make([][]byte, 0, 2*len(members))
	for name, member := range members {
		key, err := t.Elems[0].keyFromJSON(name)
		if err != nil {
			return nil, err
		}
		value, err := t.Elems[1].fromJSON(member)
		if err != nil {
			return nil, err
		}
		values = append(values, key, value)
	}
	return t.assemble(values)
}

func (t *Type) keyFromJSON(name string) ([]byte, error) {
	if t.Kind.scalar() != nil || t.Kind == Custom {
		return t.parseScalar(name)
	}
	return t.nestedFromString(name)
}

func (t *Type) fieldsFromJSON(members map[string]json.RawMessage) ([]byte, error) {
	values := make([][]byte, len(t.Elems))
	for name, member := range members {
		i := t.jsonFieldIndex(name)
		if i < 0 {
			return nil, t.valueError("it has no field %q", clip(name))
		}
		var err error
		if values[i], err = t.Elems[i].fromJSON(member); err != nil {
			return nil, fmt.Errorf("field %s: %w", t.Fields[i], err)
		}
	}
	return t.assemble(values)
}

// jsonFieldIndex finds a field by its name as it is, in double quotes, or in another case.
func (t *Type) jsonFieldIndex(name string) int {
	if i := t.field(name); i >= 0 {
		return i
	}
	if len(name) > 2 && name[0] == '"' && name[len(name)-1] == '"' {
		return t.field(name[1 : len(name)-1])
	}
	return t.field(strings.ToLower(name))
}

// unquoteJSON reads a JSON string. Half of a surrogate pair is an error, which encoding/json would change to U+FFFD without a word.
func (t *Type) unquoteJSON(raw []byte) (string, error) {
	body := raw[1 : len(raw)-1]
	at := strings.IndexByte(string(body), '\\')
	if at < 0 {
		return string(body), nil
	}
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			out = append(out, body[i])
			continue
		}
		i++
		if body[i] != 'u' {
			out = append(out, unescapeJSON(body[i]))
			continue
		}
		r := hex4(body[i+1:])
		i += 4
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if i+6 < len(body) && body[i+1] == '\\' && body[i+2] == 'u' {
				low = hex4(body[i+3:])
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return "", t.valueError("the JSON string %s has half of a surrogate pair", clip(string(raw)))
			}
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), nil
}

func unescapeJSON(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}
