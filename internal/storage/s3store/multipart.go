package s3store

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Limits are Amazon's for Amazon, and those that the other services have in
// common for them.
func (s *Store) Limits() storage.Limits {
	const mib, gib = 1 << 20, 1 << 30
	l := storage.Limits{MinPart: 5 * mib, MaxPart: 5 * gib, MaxObject: 5 << 40, MaxParts: 10_000}
	if s.client.amazon {
		l.MaxObject = int64(l.MaxParts) * l.MaxPart
	}
	return l
}

// Begin opens an upload whose parts, and whose whole, the server checks
// against their CRC32C. A server that knows nothing of this gets a plain
// upload.
//
// The upload's ID is the checksum's name, which may be empty, a slash, and the
// server's ID.
func (s *Store) Begin(ctx context.Context, key string, size, part int64, opts storage.PutOptions) (storage.Upload, error) {
	u, err := s.begin(ctx, key, size, part, opts.Meta, crc32c)
	if f := faultOf(err); err != nil && (f == work.Invalid || f == work.Unsupported) {
		if plain, again := s.begin(ctx, key, size, part, opts.Meta, nil); again == nil {
			u, err = plain, nil
		}
	}
	return u, s.fail("begin upload of", key, err)
}

func (s *Store) begin(ctx context.Context, key string, size, part int64, m storage.Meta, alg *algorithm) (storage.Upload, error) {
	if err := s.keeps(ctx, key); err != nil {
		return storage.Upload{}, err
	}
	h := make(http.Header, 16)
	if err := s.writeMeta(h, m); err != nil {
		return storage.Upload{}, err
	}
	if alg != nil {
		h["X-Amz-Checksum-Algorithm"] = []string{alg.name}
		h["X-Amz-Checksum-Type"] = []string{"FULL_OBJECT"}
	}
	answer, body, err := s.roundTrip(ctx, &request{method: http.MethodPost, key: s.prefix + key, query: "uploads=", header: h})
	if err != nil {
		return storage.Upload{}, s.refused(err, m, h)
	}
	var result struct {
		UploadID string `xml:"UploadId"`
	}
	if err := decode(body, &result); err != nil {
		return storage.Upload{}, err
	}
	if result.UploadID == "" {
		return storage.Upload{}, fmt.Errorf("%w: an upload without an id", errAnswer)
	}
	name := ""
	if alg != nil && strings.EqualFold(answer.Get("X-Amz-Checksum-Algorithm"), alg.name) &&
		strings.EqualFold(answer.Get("X-Amz-Checksum-Type"), "FULL_OBJECT") {
		name = alg.name
	}
	return storage.Upload{Key: key, ID: uploadID(name, result.UploadID), Size: size, Part: part}, nil
}

// uploadID is the ID of an upload that goes by a checksum, or by none.
func uploadID(alg, id string) string { return alg + "/" + id }

// idOf splits an upload's ID; alg is nil for an upload without checksums.
func idOf(u storage.Upload) (alg *algorithm, id string, err error) {
	name, id, ok := strings.Cut(u.ID, "/")
	if name == crc32c.name {
		alg = crc32c
	}
	if !ok || id == "" || name != "" && alg == nil {
		return nil, "", refuse(work.Invalid, "%q is not the id of an upload", u.ID)
	}
	return alg, id, nil
}

// PutPart stores a part. The server checks it against sums if they hold what
// the upload goes by, and otherwise against the checksum of the bytes as they
// were read from body.
func (s *Store) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	p, err := s.putPart(ctx, u, n, body, size, sums)
	return p, s.fail(fmt.Sprintf("put part %d of", n), u.Key, err)
}

func (s *Store) putPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	alg, id, err := idOf(u)
	if err != nil {
		return storage.Part{}, err
	}
	h := make(http.Header, 12)
	r := &request{
		method: http.MethodPut, key: s.prefix + u.Key,
		query:  "partNumber=" + strconv.Itoa(n) + "&uploadId=" + escapeQuery(id),
		header: h, body: body, size: size,
	}
	var given []byte
	if alg != nil {
		given = *alg.field(&sums)
	}
	switch {
	case given != nil:
		h[alg.header] = []string{base64.StdEncoding.EncodeToString(given)}
	case alg != nil:
		setTrailer(r, alg)
		h["Content-Encoding"] = []string{"aws-chunked"} // Amazon's wants it; of a part nobody keeps it
	}
	if given == nil && sums.MD5 != nil {
		h["Content-Md5"] = []string{base64.StdEncoding.EncodeToString(sums.MD5)}
	}
	r.check = func(ctx context.Context) error { return s.standing(ctx, u.Key, id) }
	answer, _, err := s.roundTrip(ctx, r)
	if err != nil {
		return storage.Part{}, err
	}
	p := storage.Part{N: n, Size: size, Tag: unquote(answer.Get("Etag")), Sums: readSums(answer)}
	if alg != nil && *alg.field(&p.Sums) == nil {
		return storage.Part{}, fmt.Errorf("%w: no %s for a part", errAnswer, alg.name)
	}
	return p, nil
}

type completeXML struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []partXML
}

type partXML struct {
	XMLName  xml.Name `xml:"Part"`
	N        int      `xml:"PartNumber"`
	ETag     string   `xml:"ETag"`
	Checksum *sumXML
}

type sumXML struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

// Commit puts the parts together. The server checks the whole against
// opts.Sums if they hold what the upload goes by. NotFound also if the upload
// holds a part otherwise than it is named here: one that was stored twice, in
// the wrong order, may have an ETag that nobody knows. Repeating that would not
// help, beginning anew does.
func (s *Store) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.commit(ctx, u, parts, opts)
	if isForeign(err) {
		err = refuse(work.NotFound, "the upload does not hold the parts as they were stored: %v", err)
	}
	return in, s.fail("commit upload of", u.Key, err)
}

func (s *Store) commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	alg, id, err := idOf(u)
	if err != nil {
		return storage.Info{}, err
	}
	text, err := completion(u, parts, alg)
	if err != nil {
		return storage.Info{}, err
	}
	h := http.Header{"Content-Type": {"application/xml"}}
	if alg != nil {
		h["X-Amz-Checksum-Type"] = []string{"FULL_OBJECT"}
		h["X-Amz-Mp-Object-Size"] = []string{strconv.FormatInt(u.Size, 10)}
		if whole := *alg.field(&opts.Sums); whole != nil {
			h[alg.header] = []string{base64.StdEncoding.EncodeToString(whole)}
		}
	}
	answer, body, err := s.under(ctx, opts.If, &s.unconditional.commit, &request{
		method: http.MethodPost, key: s.prefix + u.Key, query: "uploadId=" + escapeQuery(id), header: h,
		body: strings.NewReader(text), size: int64(len(text)), wait: thinking,
	})
	if faultOf(err) == work.NotFound || isForeign(err) {
		// Perhaps it was done, and only the answer was lost.
		if in, ok := s.committed(ctx, u, parts); ok {
			return in, nil
		}
	}
	if err != nil {
		return storage.Info{}, s.inTheWay(ctx, u.Key, err)
	}
	var result answerXML
	if err := decode(body, &result); err != nil {
		return storage.Info{}, err
	}
	in := result.info(u.Key, u.Size, answer)
	if in.Sums.Algos()&^storage.MD5 != 0 {
		return in, nil // it is known what was put together, not only that it was
	}
	if want := etagOf(parts); want != "" && in.ETag != want && !otherETag(answer) && sameForm(in.ETag, want) {
		return storage.Info{}, refuse(work.Corrupt, "the server has put together an object with ETag %q, the parts make %q", in.ETag, want)
	}
	return s.look(ctx, u.Key)
}

// look asks for what the server has made of a request whose answer does not
// tell: its size, above all.
func (s *Store) look(ctx context.Context, key string) (storage.Info, error) {
	in, err := s.head(ctx, key, http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}})
	if err != nil {
		return storage.Info{}, fmt.Errorf("look at what the server has made: %w", err)
	}
	return in, nil
}

// isForeign reports whether the server does not know the parts that it was told
// to put together.
func isForeign(err error) bool {
	var api *apiError
	return errors.As(err, &api) && (api.Code == "InvalidPart" || api.Code == "InvalidPartOrder")
}

// completion checks that parts are all parts of u in their order, and returns
// the text that tells the server so.
func completion(u storage.Upload, parts []storage.Part, alg *algorithm) (string, error) {
	var c completeXML
	var size int64
	for i, p := range parts {
		if p.N != i+1 || p.Tag == "" {
			return "", refuse(work.Invalid, "part %d stands where part %d must be", p.N, i+1)
		}
		size += p.Size
		x := partXML{N: p.N, ETag: quote(p.Tag)}
		if alg != nil {
			sum := *alg.field(&p.Sums)
			if sum == nil {
				return "", refuse(work.Invalid, "part %d has no %s", p.N, alg.name)
			}
			x.Checksum = &sumXML{xml.Name{Local: "Checksum" + alg.name}, base64.StdEncoding.EncodeToString(sum)}
		}
		c.Parts = append(c.Parts, x)
	}
	if size != u.Size || len(parts) == 0 {
		return "", refuse(work.Invalid, "the parts have %d bytes together, the object %d", size, u.Size)
	}
	text, err := xml.Marshal(c)
	return string(text), err
}

// committed reports whether the object is what the parts put together make.
func (s *Store) committed(ctx context.Context, u storage.Upload, parts []storage.Part) (storage.Info, bool) {
	want := etagOf(parts)
	if want == "" {
		return storage.Info{}, false
	}
	in, err := s.Stat(ctx, u.Key)
	return in, err == nil && in.Size == u.Size && in.ETag == want
}

// An answerXML is what a server says of an object it has put together or
// copied.
type answerXML struct {
	ETag         string `xml:"ETag"`
	ChecksumType string `xml:"ChecksumType"`
	CRC32        string `xml:"ChecksumCRC32"`
	CRC32C       string `xml:"ChecksumCRC32C"`
	CRC64NVME    string `xml:"ChecksumCRC64NVME"`
	SHA256       string `xml:"ChecksumSHA256"`
}

func (a answerXML) info(key string, size int64, h http.Header) storage.Info {
	in := storage.Info{Key: key, Size: size, ETag: unquote(a.ETag)}
	if !otherETag(h) {
		in.Sums.MD5 = md5Of(in.ETag)
	}
	if !strings.EqualFold(a.ChecksumType, "COMPOSITE") {
		in.Sums.CRC32 = decodeSum(a.CRC32, 4)
		in.Sums.CRC32C = decodeSum(a.CRC32C, 4)
		in.Sums.CRC64NVME = decodeSum(a.CRC64NVME, 8)
		in.Sums.SHA256 = decodeSum(a.SHA256, 32)
	}
	return in
}
