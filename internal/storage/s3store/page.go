package s3store

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// A page is an answer to ListObjectsV2.
type page struct {
	entries   []entry
	truncated bool
	token     string // of the next page
}

// An entry is what a page says of an object.
type entry struct {
	key     string
	raw     []byte // the key as the page has it
	size    int64
	etag    string
	modTime time.Time
	archive bool      // its storage class is one of archives
	restore time.Time // until then a restored copy of it can be read
}

// parsePage reads a page, and spoils b. It is written by hand because a general
// XML decoder takes ten times as long, which at a billion keys is hours; it
// knows as much of XML as servers send here, and refuses the rest.
func parsePage(b []byte) (page, error) {
	x := scanner{b: b}
	var p page
	coded, err := x.page(&p)
	if err != nil {
		return page{}, fmt.Errorf("%w: page of a listing: %w", errAnswer, err)
	}
	for i := range p.entries {
		e := &p.entries[i]
		if !coded {
			e.key, e.raw = string(e.raw), nil
			continue
		}
		if e.key, err = decodeKey(e.raw); err != nil {
			return page{}, fmt.Errorf("%w: %w", errAnswer, err)
		}
		e.raw = nil
	}
	return p, nil
}

// page reads a page but for the coding of its keys.
func (x *scanner) page(p *page) (coded bool, err error) {
	const root = "ListBucketResult"
	if whole, err := x.root(root); err != nil || whole {
		return false, err
	}
	for {
		name, err := x.child(root)
		if err != nil || name == nil {
			return coded, err
		}
		var text []byte
		switch string(name) {
		case "Contents":
			err = x.contents(p)
		case "IsTruncated":
			text, err = x.text(name)
			p.truncated = string(text) == "true"
		case "NextContinuationToken":
			text, err = x.text(name)
			p.token = string(text)
		case "EncodingType":
			text, err = x.text(name)
			coded = string(text) == "url"
		default:
			err = x.skip(name)
		}
		if err != nil {
			return false, err
		}
	}
}

// contents reads one Contents element, whose start was read.
func (x *scanner) contents(p *page) error {
	if p.entries == nil {
		p.entries = make([]entry, 0, 1000)
	}
	p.entries = append(p.entries, entry{})
	e := &p.entries[len(p.entries)-1]
	for {
		name, err := x.child("Contents")
		if err == nil && name == nil && len(e.raw) == 0 {
			err = fmt.Errorf("an object without a key")
		}
		if err != nil || name == nil {
			return err
		}
		var text []byte
		switch string(name) {
		case "Key":
			// Whether it is coded may be said further down.
			if e.raw, err = x.text(name); err == nil && len(x.buf) > 0 {
				e.raw = bytes.Clone(e.raw)
			}
		case "Size":
			if text, err = x.text(name); err == nil {
				e.size, err = parseSize(text)
			}
		case "ETag":
			text, err = x.text(name)
			e.etag = string(unquote(text))
		case "LastModified":
			if text, err = x.text(name); err == nil {
				err = e.modTime.UnmarshalText(text)
			}
		case "StorageClass":
			text, err = x.text(name)
			e.archive = archives(string(text))
		case "RestoreStatus":
			err = x.restoreStatus(e)
		default:
			err = x.skip(name)
		}
		if err != nil {
			return err
		}
	}
}

// restoreStatus reads a RestoreStatus element, whose start was read. A restore
// that is still going on has no date.
func (x *scanner) restoreStatus(e *entry) error {
	for {
		name, err := x.child("RestoreStatus")
		if err != nil || name == nil {
			return err
		}
		var text []byte
		if string(name) != "RestoreExpiryDate" {
			err = x.skip(name)
		} else if text, err = x.text(name); err == nil {
			err = e.restore.UnmarshalText(text)
		}
		if err != nil {
			return err
		}
	}
}

func parseSize(text []byte) (n int64, err error) {
	for _, c := range text {
		if c < '0' || c > '9' || n > (1<<63-1-9)/10 {
			return 0, fmt.Errorf("a size of %.40q", text)
		}
		n = 10*n + int64(c-'0')
	}
	if len(text) == 0 {
		return 0, fmt.Errorf("an empty size")
	}
	return n, nil
}

// decodeKey undoes encoding-type=url: %XX is a byte and + a space.
func decodeKey(s []byte) (string, error) {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return string(s), nil
	}
	b := s[:0] // what is written was read before
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b = append(b, ' ')
		case '%':
			if i+2 >= len(s) || unhex(s[i+1]) > 15 || unhex(s[i+2]) > 15 {
				return "", fmt.Errorf("key %q is not coded as a URL", s)
			}
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b), nil
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

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
