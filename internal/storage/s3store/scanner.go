package s3store

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// A scanner walks over the elements of an XML document.
type scanner struct {
	b   []byte
	pos int
	buf []byte // of the last text, if it had to be changed
}

// tag reads to the next tag and returns its name and sort. The name is part
// of the document.
func (x *scanner) tag() (name []byte, sort byte, err error) {
	for {
		i := bytes.IndexByte(x.b[x.pos:], '<')
		if i < 0 {
			return nil, 0, errEnd
		}
		start := x.pos + i + 1
		j := bytes.IndexByte(x.b[start:], '>')
		if j < 0 {
			return nil, 0, errEnd
		}
		inner := x.b[start : start+j]
		x.pos = start + j + 1
		switch {
		case len(inner) == 0:
			return nil, 0, fmt.Errorf("an empty tag at byte %d", start)
		case inner[0] == '?': // <?xml …?>
			continue
		case inner[0] == '!':
			return nil, 0, fmt.Errorf("a declaration at byte %d", start)
		case inner[0] == '/':
			return bytes.TrimRight(inner[1:], " "), closing, nil
		}
		sort = opening
		if inner[len(inner)-1] == '/' {
			inner, sort = inner[:len(inner)-1], empty
		}
		if k := bytes.IndexAny(inner, " \t\r\n"); k >= 0 {
			inner = inner[:k]
		}
		return inner, sort, nil
	}
}

// The sorts of tags.
const (
	opening byte = iota
	closing
	empty // both at once
)

var errEnd = fmt.Errorf("it ends in the middle")

// root reads the start of a document, which must be that of the named element.
// whole means that this is all there is.
func (x *scanner) root(name string) (whole bool, err error) {
	got, sort, err := x.tag()
	switch {
	case err != nil:
		return false, err
	case sort == closing || string(got) != name:
		return false, fmt.Errorf("element %.40q, want %s", got, name)
	}
	return sort == empty, nil
}

// child reads to the start of the next element inside parent, which was
// opened, and returns its name; nil at the end of parent. The caller must read
// to the end of the child before it asks for the next.
func (x *scanner) child(parent string) ([]byte, error) {
	for {
		name, sort, err := x.tag()
		switch {
		case err != nil:
			return nil, err
		case sort == opening:
			return name, nil
		case sort == closing && string(name) != parent:
			return nil, fmt.Errorf("end of %.40q inside %s", name, parent)
		case sort == closing:
			return nil, nil
		}
	}
}

// skip reads to the end of an element that was opened.
func (x *scanner) skip(name []byte) error {
	depth := 1
	for depth > 0 {
		_, sort, err := x.tag()
		switch {
		case err != nil:
			return fmt.Errorf("in %.40q: %w", name, err)
		case sort == opening:
			depth++
		case sort == closing:
			depth--
		}
	}
	return nil
}

// text reads the text and the end of an element that was opened and holds
// nothing else. The result is good until the next call.
func (x *scanner) text(name []byte) ([]byte, error) {
	i := bytes.IndexByte(x.b[x.pos:], '<')
	if i < 0 {
		return nil, errEnd
	}
	raw := x.b[x.pos : x.pos+i]
	x.pos += i
	got, sort, err := x.tag()
	if err != nil {
		return nil, err
	}
	if sort != closing || !bytes.Equal(got, name) {
		return nil, fmt.Errorf("%.40q inside %s", got, name)
	}
	x.buf = x.buf[:0]
	if bytes.IndexByte(raw, '&') < 0 {
		return raw, nil
	}
	return x.unescape(raw)
}

// unescape undoes the references that XML text is written with, into buf.
func (x *scanner) unescape(raw []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(raw, '&')
		if i < 0 {
			x.buf = append(x.buf, raw...)
			return x.buf, nil
		}
		x.buf = append(x.buf, raw[:i]...)
		raw = raw[i+1:]
		j := bytes.IndexByte(raw, ';')
		if j < 0 {
			return nil, fmt.Errorf("an unfinished reference")
		}
		r, err := reference(string(raw[:j]))
		if err != nil {
			return nil, err
		}
		x.buf = utf8.AppendRune(x.buf, r)
		raw = raw[j+1:]
	}
}

func reference(s string) (rune, error) {
	switch s {
	case "amp":
		return '&', nil
	case "lt":
		return '<', nil
	case "gt":
		return '>', nil
	case "quot":
		return '"', nil
	case "apos":
		return '\'', nil
	}
	if len(s) > 1 && s[0] == '#' {
		base, digits := 10, s[1:]
		if digits[0] == 'x' {
			base, digits = 16, digits[1:]
		}
		n, err := strconv.ParseUint(digits, base, 21)
		if err == nil && utf8.ValidRune(rune(n)) {
			return rune(n), nil
		}
	}
	return 0, fmt.Errorf("an unknown reference %.20q", s)
}
