package s3store

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// A page is an answer to ListObjectsV2.
type page struct {
	entries   []entry
	truncated bool
	token     string // of the next page, if there is one and the server names it
	about     about
}

// What a page says about itself, as far as the server does: its entries again,
// or what was asked for.
type about struct {
	truncated string // whether there are more, in the server's words
	count     int    // of entries; 0 also if that is not said
	groups    int    // of keys that were put together under one name
	prefix    *string
	after     *string
	token     *string
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
	if !p.truncated {
		p.token = "" // some servers go on naming one
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
			p.about.truncated = string(text)
			p.truncated = p.about.truncated == "true"
		case "NextContinuationToken":
			text, err = x.text(name)
			p.token = string(text)
		case "EncodingType":
			text, err = x.text(name)
			coded = string(text) == "url"
		case "KeyCount":
			text, err = x.text(name)
			if n, wrong := strconv.Atoi(string(text)); wrong == nil {
				p.about.count = n
			}
		case "CommonPrefixes":
			err = x.group(p)
		case "Prefix":
			p.about.prefix, err = x.echo(name)
		case "StartAfter":
			p.about.after, err = x.echo(name)
		case "ContinuationToken":
			p.about.token, err = x.echo(name)
		default:
			err = x.skip(name)
		}
		if err != nil {
			return false, err
		}
	}
}

// group reads one CommonPrefixes element, whose start was read. Some servers
// send one without a name where there is no group.
func (x *scanner) group(p *page) error {
	for {
		name, err := x.child("CommonPrefixes")
		if err != nil || name == nil {
			return err
		}
		var text []byte
		if string(name) != "Prefix" {
			err = x.skip(name)
		} else if text, err = x.text(name); len(text) > 0 {
			p.about.groups++
		}
		if err != nil {
			return err
		}
	}
}

// echo reads an element that repeats what was asked for.
func (x *scanner) echo(name []byte) (*string, error) {
	text, err := x.text(name)
	s := string(text)
	return &s, err
}

// contents reads one Contents element, whose start was read.
func (x *scanner) contents(p *page) error {
	if p.entries == nil {
		p.entries = make([]entry, 0, pageKeys)
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
