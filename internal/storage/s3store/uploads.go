package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// aborts is how often an upload is aborted before it is called stubborn.
const aborts = 6

// Abort gives an upload up. A part that was under way may have been stored
// after its upload was aborted, and then takes room for ever, so the server is
// told again until it knows nothing of the upload.
func (s *Store) Abort(ctx context.Context, u storage.Upload) error {
	_, id, err := idOf(u)
	if err == nil {
		err = s.abort(ctx, u.Key, id)
	}
	return s.fail("abort upload of", u.Key, err)
}

func (s *Store) abort(ctx context.Context, key, id string) error {
	for n := 1; ; n++ {
		_, _, err := s.roundTrip(ctx, &request{
			method: http.MethodDelete, key: s.prefix + key, query: "uploadId=" + escapeQuery(id),
		})
		if noUpload(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 1 {
			continue // nearly always this was it, and the server says so at once
		}
		// Some servers are content to abort what is not there.
		switch err := s.standing(ctx, key, id); {
		case noUpload(err):
			return nil
		case passing(err):
			return err
		case err != nil:
			return nil // it may not be asked; it has said twice that it is done
		case n == aborts:
			return refuse(work.Transient, "the upload is still there after it was aborted %d times", n)
		}
		if !sleep(ctx, 25*time.Millisecond<<n) {
			return ctx.Err()
		}
	}
}

// noUpload reports whether err says that there is no such upload.
func noUpload(err error) bool {
	return faultOf(err) == work.NotFound && !noBucket(err)
}

// standing returns nil if an upload is there.
func (s *Store) standing(ctx context.Context, key, id string) error {
	_, err := s.lookAt(ctx, key, id)
	return err
}

// A partsXML is the first part of an upload, if it has any, and what the
// upload goes by.
type partsXML struct {
	Algorithm string     `xml:"ChecksumAlgorithm"`
	Type      string     `xml:"ChecksumType"`
	Parts     []struct{} `xml:"Part"`
}

func (s *Store) lookAt(ctx context.Context, key, id string) (partsXML, error) {
	var answer partsXML
	_, body, err := s.roundTrip(ctx, &request{
		method: http.MethodGet, key: s.prefix + key, query: "max-parts=1&uploadId=" + escapeQuery(id),
	})
	if err == nil {
		err = decode(body, &answer)
	}
	return answer, err
}

// Pending finds the uploads of a key that hold no part. What a server does not
// tell, or not to these credentials, is none: an upload without parts is no
// reason for an object to fail.
func (s *Store) Pending(ctx context.Context, key string) ([]storage.Upload, error) {
	found, err := s.pending(ctx, key)
	if f := faultOf(err); f == work.Denied || f == work.Unsupported {
		var creds *credentialsError
		var api *apiError
		if !errors.As(err, &creds) && !(errors.As(err, &api) && s.client.expired(api)) {
			return nil, nil
		}
	}
	return found, s.fail("look for uploads of", key, err)
}

func (s *Store) pending(ctx context.Context, key string) ([]storage.Upload, error) {
	var found []storage.Upload
	query := "encoding-type=url&max-uploads=1000&prefix=" + escapeQuery(s.prefix+key) + "&uploads="
	for from := ""; ; {
		page, err := s.uploads(ctx, from+query)
		if err != nil {
			return nil, err
		}
		for _, u := range page.Uploads {
			if u.Key != s.prefix+key {
				continue
			}
			switch at, err := s.lookAt(ctx, key, u.ID); {
			case noUpload(err), len(at.Parts) > 0:
			case err != nil:
				return nil, err
			default:
				alg := ""
				if at.Algorithm == crc32c.name && at.Type == "FULL_OBJECT" {
					alg = at.Algorithm
				}
				found = append(found, storage.Upload{Key: key, ID: uploadID(alg, u.ID)})
			}
		}
		// They come in order, so those of other keys follow those of this one.
		if n := len(page.Uploads); !page.Truncated || n == 0 || page.Uploads[n-1].Key != s.prefix+key {
			return found, nil
		}
		next := "key-marker=" + escapeQuery(page.NextKey) + "&upload-id-marker=" + escapeQuery(page.NextID) + "&"
		if next == from {
			return nil, fmt.Errorf("%w: a page of uploads that ends where it began", errAnswer)
		}
		from = next
	}
}

// An uploadsXML is a page of uploads under way.
type uploadsXML struct {
	Coding    string `xml:"EncodingType"`
	Truncated bool   `xml:"IsTruncated"`
	NextKey   string `xml:"NextKeyMarker"`
	NextID    string `xml:"NextUploadIdMarker"`
	Uploads   []struct {
		Key string `xml:"Key"`
		ID  string `xml:"UploadId"`
	} `xml:"Upload"`
}

// uploads asks for one page of uploads.
func (s *Store) uploads(ctx context.Context, query string) (uploadsXML, error) {
	var page uploadsXML
	_, body, err := s.roundTrip(ctx, &request{method: http.MethodGet, query: query})
	if err == nil {
		err = decode(body, &page)
	}
	if err != nil || page.Coding != "url" {
		return page, err
	}
	if page.NextKey, err = decodeKey([]byte(page.NextKey)); err != nil {
		return page, fmt.Errorf("%w: %w", errAnswer, err)
	}
	for i := range page.Uploads {
		u := &page.Uploads[i]
		if u.Key, err = decodeKey([]byte(u.Key)); err != nil {
			return page, fmt.Errorf("%w: %w", errAnswer, err)
		}
	}
	return page, nil
}
