package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
)

// memberScan finds a member that is given twice: encoding/json would take the last without a word, and another program that read the same body the first.
//
// The members of requests match in any case, as encoding/json matches them; those inside of params only as they are.
type memberScan struct {
	body []byte // JSON that was decoded before: it is valid
	at   int
}

// repeated gives the problem of the first repeated member, or nil.
func repeated(body []byte) *Problem {
	s := memberScan{body: body}
	return s.value(true)
}

// value scans one value; ours says that its members are the request's own.
func (s *memberScan) value(ours bool) *Problem {
	s.blank()
	switch s.body[s.at] {
	case '{':
		return s.object(ours)
	case '[':
		return s.array(ours)
	case '"':
		s.text()
	default:
		for s.at < len(s.body) && !strings.ContainsRune(",]} \t\r\n", rune(s.body[s.at])) {
			s.at++
		}
	}
	return nil
}

func (s *memberScan) array(ours bool) *Problem {
	for s.next(']') {
		if p := s.value(ours); p != nil {
			return p
		}
	}
	return nil
}

func (s *memberScan) object(ours bool) *Problem {
	seen := map[string]bool{}
	for s.next('}') {
		at := s.at
		name := s.text()
		if ours {
			name = strings.ToLower(strings.ToUpper(name)) // "ſ" is an s to encoding/json
		}
		if seen[name] {
			return badJSON(s.body, at, fmt.Sprintf("the member %q is given twice", name))
		}
		seen[name] = true
		s.blank()
		s.at++ // the colon
		if p := s.value(ours && name != "params"); p != nil {
			return p
		}
	}
	return nil
}

// next steps over the opening bracket or a comma to what follows; it reports false behind the closing bracket.
func (s *memberScan) next(end byte) bool {
	s.blank()
	if s.body[s.at] == end {
		s.at++
		return false
	}
	s.at++
	s.blank()
	if s.body[s.at] == end { // empty
		s.at++
		return false
	}
	return true
}

func (s *memberScan) blank() {
	for strings.IndexByte(" \t\r\n", s.body[s.at]) >= 0 {
		s.at++
	}
}

// text steps over a string and gives it.
func (s *memberScan) text() string {
	start := s.at
	escaped := false
	for s.at++; s.body[s.at] != '"'; s.at++ {
		if s.body[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	s.at++
	raw := s.body[start:s.at]
	if !escaped {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	_ = json.Unmarshal(raw, &text) // it is valid
	return text
}
