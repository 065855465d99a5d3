package air

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A table is a table of a TOML document (toml.io, version 1.0): its values are
// strings, lists and tables. Numbers, booleans and dates stay as they are
// written, since nothing that devloop wants to know is one.
type table map[string]any

// A list is an array, or an array of tables.
type list []any

// readTOML reads a document. Air says what is wrong with one; it is enough here
// to know that something is.
func readTOML(text string) (table, error) {
	p := &tomlParser{rest: strings.ReplaceAll(text, "\r\n", "\n")}
	root := make(table)
	at := root
	for {
		p.skip(true)
		switch {
		case p.rest == "":
			return root, nil
		case strings.HasPrefix(p.rest, "[["):
			p.rest = p.rest[2:]
			at = p.header(root, "]]", true)
		case strings.HasPrefix(p.rest, "["):
			p.rest = p.rest[1:]
			at = p.header(root, "]", false)
		default:
			p.pair(at)
		}
		p.skip(false)
		if p.err == nil && p.rest != "" && p.rest[0] != '\n' {
			p.fail("more than one thing on a line")
		}
		if p.err != nil {
			return nil, p.err
		}
	}
}

type tomlParser struct {
	rest string
	err  error
}

// fail ends the reading.
func (p *tomlParser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s near %.20q", what, p.rest)
	}
	p.rest = ""
}

// skip passes over blanks and comments, and over the ends of lines too.
func (p *tomlParser) skip(lines bool) {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t")
		if strings.HasPrefix(p.rest, "#") {
			_, after, ok := strings.Cut(p.rest, "\n")
			p.rest = ""
			if ok {
				p.rest = "\n" + after
			}
		}
		if !lines || !strings.HasPrefix(p.rest, "\n") {
			return
		}
		p.rest = p.rest[1:]
	}
}

// take passes over a token if it is next.
func (p *tomlParser) take(token string) bool {
	p.skip(false)
	after, ok := strings.CutPrefix(p.rest, token)
	p.rest = after
	return ok
}

// header returns the table that a header begins.
func (p *tomlParser) header(root table, end string, array bool) table {
	keys := p.keys()
	if !p.take(end) {
		p.fail("a header without an end")
	}
	if p.err != nil {
		return root
	}
	at := p.descend(root, keys[:len(keys)-1])
	last := keys[len(keys)-1]
	if !array {
		return p.descend(at, []string{last})
	}
	tables, _ := at[last].(list)
	fresh := make(table)
	at[last] = append(tables, fresh)
	return fresh
}

// descend returns the table at a path, which it makes if it has to.
func (p *tomlParser) descend(at table, keys []string) table {
	for _, key := range keys {
		switch next := at[key].(type) {
		case nil:
			fresh := make(table)
			at[key] = fresh
			at = fresh
		case table:
			at = next
		case list:
			last, ok := next[len(next)-1].(table)
			if !ok {
				p.fail("a key of what is no table")
				return at
			}
			at = last
		default:
			p.fail("a key of what is no table")
			return at
		}
	}
	return at
}

// pair reads a key and its value.
func (p *tomlParser) pair(at table) {
	keys := p.keys()
	if !p.take("=") {
		p.fail("a key without a value")
		return
	}
	value := p.value()
	if p.err == nil {
		p.descend(at, keys[:len(keys)-1])[keys[len(keys)-1]] = value
	}
}

// keys reads a key with dots.
func (p *tomlParser) keys() []string {
	var out []string
	for {
		p.skip(false)
		if strings.HasPrefix(p.rest, `"`) || strings.HasPrefix(p.rest, "'") {
			out = append(out, p.text())
		} else {
			end := strings.IndexFunc(p.rest, func(r rune) bool {
				return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
			})
			if end <= 0 {
				p.fail("no key")
				return []string{""}
			}
			out = append(out, p.rest[:end])
			p.rest = p.rest[end:]
		}
		if !p.take(".") {
			return out
		}
	}
}

func (p *tomlParser) value() any {
	p.skip(false)
	switch {
	case strings.HasPrefix(p.rest, `"`) || strings.HasPrefix(p.rest, "'"):
		return p.text()
	case p.take("["):
		out := list{}
		for {
			p.skip(true)
			if p.take("]") {
				return out
			}
			out = append(out, p.value())
			p.skip(true)
			if !p.take(",") {
				p.skip(true)
				if !p.take("]") {
					p.fail("an array without an end")
				}
				return out
			}
		}
	case p.take("{"):
		out := make(table)
		for !p.take("}") && p.err == nil {
			p.pair(out)
			if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
				p.fail("an inline table without an end")
			}
		}
		return out
	}
	end := strings.IndexAny(p.rest, ",]}#\n")
	if end < 0 {
		end = len(p.rest)
	}
	word := strings.TrimSpace(p.rest[:end])
	if word == "" {
		p.fail("no value")
	}
	p.rest = p.rest[min(end, len(p.rest)):]
	return word
}

// text reads a string in one of the four ways to write one.
func (p *tomlParser) text() string {
	for _, quote := range []string{`"""`, "'''", `"`, "'"} {
		after, ok := strings.CutPrefix(p.rest, quote)
		if !ok {
			continue
		}
		long, basic := len(quote) == 3, quote[0] == '"'
		if long {
			after = strings.TrimPrefix(after, "\n")
		}
		end := 0
		for ; !strings.HasPrefix(after[end:], quote); end++ {
			if end >= len(after) || !long && after[end] == '\n' {
				p.fail("a string without an end")
				return ""
			}
			if basic && after[end] == '\\' && end+1 < len(after) {
				end++
			}
		}
		for long && strings.HasPrefix(after[end+1:], quote) {
			end++ // quotes before the closing ones belong to the text
		}
		text := after[:end]
		p.rest = after[end+len(quote):]
		if !basic {
			return text
		}
		text, err := unescape(text)
		if err != nil {
			p.fail(err.Error())
		}
		return text
	}
	p.fail("no string")
	return ""
}

// unescape replaces what follows backslashes.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		if after == "" {
			return "", errors.New("a backslash at the end")
		}
		c := after[0]
		s = after[1:]
		switch short := strings.IndexByte(`btnfre"\`, c); {
		case short >= 0:
			b.WriteByte("\b\t\n\f\r\x1b\"\\"[short])
		case c == 'u' || c == 'U' || c == 'x':
			digits := map[byte]int{'u': 4, 'U': 8, 'x': 2}[c]
			if len(s) < digits {
				return "", errors.New("a short escape")
			}
			n, err := strconv.ParseUint(s[:digits], 16, 32)
			if err != nil {
				return "", err
			}
			b.WriteRune(rune(n))
			s = s[digits:]
		case strings.TrimLeft(after, " \t") != "" && strings.TrimLeft(after, " \t")[0] == '\n':
			s = strings.TrimLeft(after, " \t\n") // a line that goes on in the next
		default:
			return "", fmt.Errorf("an unknown escape \\%c", c)
		}
	}
}
