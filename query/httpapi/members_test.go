package httpapi

import (
	"bytes"
	"encoding/json"
	"testing"
)

// repeats is the naive twin of memberScan within params: whether some object has a member twice.
func repeats(t *testing.T, d *json.Decoder) bool {
	next := func() json.Token {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	found := false
	switch next() {
	case json.Delim('['):
		for d.More() {
			found = repeats(t, d) || found
		}
		next()
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			name := next().(string)
			found = found || seen[name]
			seen[name] = true
			found = repeats(t, d) || found
		}
		next()
	}
	return found
}

// FuzzRepeated holds the scan against encoding/json's tokens.
func FuzzRepeated(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"a":2}`, `{"a":{"b":[]},"b":{"a":"\\\""}}`, ` [ { "a" : [ 1 , {} , { "\u0061" : null , "a" : -1.5e+9 } ] } ] `, `7`, `"x"`, "{\n}", `[[],[{}]]`,
		`{"a":true,"b":"}","c":"\"","c":0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) || invalidUTF8(body) >= 0 {
			return
		}
		s := memberScan{body: body}
		p := s.value(false)
		if want := repeats(t, json.NewDecoder(bytes.NewReader(body))); want != (p != nil) {
			t.Errorf("%q: found %v, want %v", body, p, want)
		}
		if p == nil && len(bytes.TrimSpace(body[s.at:])) > 0 {
			t.Errorf("%q: the scan ended before %q", body, body[s.at:])
		}
	})
}
