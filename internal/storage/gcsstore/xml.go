package gcsstore

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// inHeaders reports whether headers carry m verbatim.
func inHeaders(m storage.Meta) bool {
	all := []string{m.ContentType, m.ContentEncoding, m.ContentLanguage, m.ContentDisposition, m.CacheControl}
	for name, value := range m.User {
		if value == "" || name != strings.ToLower(name) {
			return false
		}
		all = append(all, value)
	}
	for _, value := range all {
		if value != strings.TrimSpace(value) || strings.ContainsFunc(value, func(r rune) bool { return r >= 0x7f }) {
			return false
		}
	}
	return true
}

// beginXML opens an upload of the XML API and returns the service's ID.
func (s *Store) beginXML(ctx context.Context, name string, m storage.Meta) (string, error) {
	h := make(http.Header, 8)
	for _, f := range []struct{ name, value string }{
		{"Content-Type", m.ContentType},
		{"Content-Encoding", m.ContentEncoding},
		{"Content-Language", m.ContentLanguage},
		{"Content-Disposition", m.ContentDisposition},
		{"Cache-Control", m.CacheControl},
		{"X-Goog-Storage-Class", m.Class},
	} {
		if f.value != "" {
			h[f.name] = []string{f.value}
		}
	}
	for name, value := range user(m) {
		h["X-Goog-Meta-"+name] = []string{value}
	}
	_, body, err := s.roundTrip(ctx, &request{
		method: http.MethodPost, path: s.objectPath(name), query: url.Values{"uploads": {""}}, header: h,
	})
	if err != nil {
		return "", err
	}
	var result struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadID string   `xml:"UploadId"`
	}
	if err := decode(body, &result); err != nil {
		return "", err
	}
	if result.UploadID == "" {
		return "", fmt.Errorf("%w: an upload without an id", errAnswer)
	}
	return result.UploadID, nil
}

func (s *Store) putPartXML(ctx context.Context, name, id string, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	var known []string
	if sums.CRC32C != nil {
		known = append(known, "crc32c="+base64.StdEncoding.EncodeToString(sums.CRC32C))
	}
	if sums.MD5 != nil {
		known = append(known, "md5="+base64.StdEncoding.EncodeToString(sums.MD5))
	}
	r := &request{
		method: http.MethodPut, path: s.objectPath(name),
		query: url.Values{"partNumber": {strconv.Itoa(n)}, "uploadId": {id}},
		body:  body, size: size,
	}
	if known != nil {
		r.header = http.Header{"X-Goog-Hash": {strings.Join(known, ",")}}
	} else {
		r.sums = sums
	}
	answer, _, err := s.roundTrip(ctx, r)
	if err != nil {
		return storage.Part{}, err
	}
	p := storage.Part{N: n, Size: size, Tag: strings.Trim(answer.Get("Etag"), `"`), Sums: readHash(answer)}
	if p.Tag == "" {
		return storage.Part{}, fmt.Errorf("%w: a part without a tag", errAnswer)
	}
	return p, nil
}

// readHash reads the sums in an answer's header.
func readHash(h http.Header) (s storage.Sums) {
	for _, field := range h["X-Goog-Hash"] {
		for one := range strings.SplitSeq(field, ",") {
			name, text, _ := strings.Cut(strings.TrimSpace(one), "=")
			sum, err := base64.StdEncoding.DecodeString(text)
			switch {
			case err != nil:
			case name == "crc32c" && len(sum) == 4:
				s.CRC32C = sum
			case name == "md5" && len(sum) == 16:
				s.MD5 = sum
			}
		}
	}
	return s
}

type completeXML struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []partXML
}

type partXML struct {
	XMLName xml.Name `xml:"Part"`
	N       int      `xml:"PartNumber"`
	ETag    string   `xml:"ETag"`
}

// commitXML completes an upload of the XML API. want is the CRC32C that the
// whole must have, nil if that is not known. The XML API knows no conditions for
// uploads: whether c is met is asked right before.
func (s *Store) commitXML(ctx context.Context, u storage.Upload, name, id string, parts []storage.Part, want []byte, c storage.Condition) (storage.Info, error) {
	list := completeXML{Parts: make([]partXML, len(parts))}
	for i, p := range parts {
		list.Parts[i] = partXML{N: p.N, ETag: `"` + p.Tag + `"`}
	}
	text, err := xml.Marshal(list)
	if err == nil {
		err = s.meets(ctx, name, c)
	}
	if err != nil {
		return storage.Info{}, err
	}
	answer, body, err := s.roundTrip(ctx, &request{
		method: http.MethodPost, path: s.objectPath(name), query: url.Values{"uploadId": {id}},
		header: http.Header{"Content-Type": {"application/xml"}}, head: string(text), wait: thinking,
	})
	if err == nil {
		var result struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		}
		err = decode(body, &result)
	}
	if isForeign(err) {
		err = refuse(work.NotFound, "the upload does not hold the parts as they were stored: %v", err)
	}
	if gone(err) {
		return s.committed(ctx, u, want, err)
	}
	if err != nil {
		return storage.Info{}, err
	}
	h := s.object(name)
	if generation, err := strconv.ParseInt(answer.Get("X-Goog-Generation"), 10, 64); err == nil {
		h = h.Generation(generation)
	}
	a, err := s.attrs(ctx, h)
	if err != nil {
		return storage.Info{}, fmt.Errorf("look at what was put together: %w", err)
	}
	in := infoOf(u.Key, a)
	if _, differ := in.Sums.Compare(storage.Sums{CRC32C: want}); differ != 0 || in.Size != u.Size {
		return storage.Info{}, refuse(work.Corrupt, "the server has %d bytes with another CRC32C than the parts", in.Size)
	}
	return in, nil
}

// isForeign reports whether the service does not know the parts that it was
// told to put together, as when one was stored again. Repeating that would not
// help, beginning anew does.
func isForeign(err error) bool {
	e := told(err)
	return e != nil && (e.reason == "InvalidPart" || e.reason == "InvalidPartOrder" ||
		e.reason == "InvalidArgument" && strings.Contains(strings.ToLower(e.message), "part"))
}

func (s *Store) abortXML(ctx context.Context, name, id string) error {
	_, _, err := s.roundTrip(ctx, &request{
		method: http.MethodDelete, path: s.objectPath(name), query: url.Values{"uploadId": {id}},
	})
	return err
}

// emptyXML returns the IDs of the uploads of this very name that have no part.
func (s *Store) emptyXML(ctx context.Context, name string) (ids []string, err error) {
	query := url.Values{"uploads": {""}, "prefix": {name}, "encoding-type": {"url"}, "max-uploads": {"1000"}}
	for {
		_, body, err := s.roundTrip(ctx, &request{method: http.MethodGet, path: "/" + s.bucket, query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			XMLName    xml.Name `xml:"ListMultipartUploadsResult"`
			Truncated  bool     `xml:"IsTruncated"`
			NextKey    string   `xml:"NextKeyMarker"`
			NextUpload string   `xml:"NextUploadIdMarker"`
			Uploads    []struct {
				Key string `xml:"Key"`
				ID  string `xml:"UploadId"`
			} `xml:"Upload"`
		}
		if err := decode(body, &page); err != nil {
			return nil, err
		}
		for _, u := range page.Uploads {
			key, err := url.QueryUnescape(u.Key)
			if err != nil {
				return nil, fmt.Errorf("%w: key %q", errAnswer, u.Key)
			}
			if key != name {
				return ids, nil // in order: this very name comes first
			}
			empty, err := s.isEmpty(ctx, name, u.ID)
			if err != nil {
				return nil, err
			}
			if empty {
				ids = append(ids, xmlID+u.ID)
			}
		}
		next, err := url.QueryUnescape(page.NextKey)
		if err != nil || !page.Truncated || next != name {
			return ids, nil
		}
		query.Set("key-marker", next)
		query.Set("upload-id-marker", page.NextUpload)
	}
}

// isEmpty reports whether an upload is there and has no part.
func (s *Store) isEmpty(ctx context.Context, name, id string) (bool, error) {
	_, body, err := s.roundTrip(ctx, &request{
		method: http.MethodGet, path: s.objectPath(name), query: url.Values{"uploadId": {id}, "max-parts": {"1"}},
	})
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var list struct {
		XMLName xml.Name   `xml:"ListPartsResult"`
		Parts   []struct{} `xml:"Part"`
	}
	err = decode(body, &list)
	return err == nil && len(list.Parts) == 0, err
}
