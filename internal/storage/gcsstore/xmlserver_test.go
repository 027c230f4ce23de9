package gcsstore

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// An xmlServer is a fake-gcs-server that also has the uploads of the XML API,
// written from the service's documentation: initiate, upload a part, complete,
// abort, list uploads, list parts.
type xmlServer struct {
	t       *testing.T
	client  *gcs.Client // of the server behind
	proxy   http.Handler
	address string

	// before, if it is set, may answer in the place of the server. lose says
	// whose answers are lost, after what was asked for is done.
	before func(w http.ResponseWriter, r *http.Request) bool
	lose   func(r *http.Request) bool

	mu      sync.Mutex
	uploads map[string]*xmlUpload
	begun   int
}

type xmlUpload struct {
	bucket, name string
	header       http.Header
	parts        map[int]xmlPart
}

type xmlPart struct {
	content []byte
	etag    string
}

func newXMLServer(t *testing.T) *xmlServer {
	behind := servers.FakeGCS(t)
	to, err := url.Parse("http://" + behind.Endpoint)
	must(t, err)
	client, err := gcs.NewClient(t.Context(), option.WithEndpoint(to.String()+"/storage/v1/"), option.WithoutAuthentication())
	must(t, err)
	x := &xmlServer{t: t, client: client, uploads: make(map[string]*xmlUpload)}
	x.proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	server := httptest.NewServer(x)
	t.Cleanup(server.Close)
	x.address = server.URL
	return x
}

// store returns an empty store of the server.
func (x *xmlServer) store(t *testing.T) *Store {
	plain := newStore(t, "pre/fix")
	return openURL(t, "gs://"+plain.bucket+"/pre/fix", x.address)
}

func (x *xmlServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if x.before != nil && x.before(w, r) {
		return
	}
	q := r.URL.Query()
	if !q.Has("uploads") && !q.Has("uploadId") {
		x.proxy.ServeHTTP(w, r)
		return
	}
	bucket, escaped, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	name, err := url.PathUnescape(escaped)
	if err != nil {
		refuseXML(w, http.StatusBadRequest, "InvalidURI")
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if q.Has("uploads") {
		if r.Method == http.MethodPost {
			x.initiate(w, r, bucket, name)
		} else {
			x.list(w, bucket, q.Get("prefix"))
		}
		return
	}
	id := q.Get("uploadId")
	u := x.uploads[id]
	switch {
	case u == nil || u.bucket != bucket || u.name != name:
		refuseXML(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut:
		u.put(w, r, q.Get("partNumber"))
	case r.Method == http.MethodPost:
		if u.complete(w, r, x) {
			delete(x.uploads, id)
		}
		if x.lose != nil && x.lose(r) {
			panic(http.ErrAbortHandler)
		}
	case r.Method == http.MethodDelete:
		delete(x.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		fmt.Fprintf(w, "<ListPartsResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>")
		for _, n := range slices.Sorted(maps.Keys(u.parts)) {
			fmt.Fprintf(w, "<Part><PartNumber>%d</PartNumber></Part>", n)
		}
		fmt.Fprint(w, "</ListPartsResult>")
	}
}

func (x *xmlServer) initiate(w http.ResponseWriter, r *http.Request, bucket, name string) {
	x.begun++
	id := fmt.Sprintf("upload+%d/=", x.begun)
	x.uploads[id] = &xmlUpload{bucket, name, r.Header.Clone(), make(map[int]xmlPart)}
	fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?><InitiateMultipartUploadResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"+
		"<Bucket>%s</Bucket><UploadId>%s</UploadId></InitiateMultipartUploadResult>", bucket, id)
}

func (x *xmlServer) list(w http.ResponseWriter, bucket, prefix string) {
	fmt.Fprint(w, "<ListMultipartUploadsResult>")
	ids := slices.SortedFunc(maps.Keys(x.uploads), func(a, b string) int {
		return strings.Compare(x.uploads[a].name+"\x00"+a, x.uploads[b].name+"\x00"+b)
	})
	for _, id := range ids {
		if u := x.uploads[id]; u.bucket == bucket && strings.HasPrefix(u.name, prefix) {
			fmt.Fprintf(w, "<Upload><Key>%s</Key><UploadId>%s</UploadId></Upload>", url.QueryEscape(u.name), id)
		}
	}
	fmt.Fprint(w, "<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
}

func (u *xmlUpload) put(w http.ResponseWriter, r *http.Request, number string) {
	n, err := strconv.Atoi(number)
	content, broken := io.ReadAll(r.Body)
	if err != nil || broken != nil || n < 1 || n > 10_000 {
		refuseXML(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	crc := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	sum := md5.Sum(content)
	known := map[string]string{
		"crc32c": base64.StdEncoding.EncodeToString([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}),
		"md5":    base64.StdEncoding.EncodeToString(sum[:]),
	}
	for one := range strings.SplitSeq(r.Header.Get("X-Goog-Hash"), ",") {
		if name, given, _ := strings.Cut(one, "="); name != "" && known[name] != given {
			refuseXML(w, http.StatusBadRequest, "BadDigest")
			return
		}
	}
	part := xmlPart{content, `"` + hex.EncodeToString(sum[:]) + `"`}
	u.parts[n] = part
	w.Header().Set("ETag", part.etag)
	w.Header().Set("X-Goog-Hash", "crc32c="+known["crc32c"]+",md5="+known["md5"])
}

func (u *xmlUpload) complete(w http.ResponseWriter, r *http.Request, x *xmlServer) bool {
	var list struct {
		Parts []struct {
			PartNumber int
			ETag       string
		} `xml:"Part"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&list); err != nil {
		refuseXML(w, http.StatusBadRequest, "MalformedCompleteMultipartUploadRequest")
		return false
	}
	var whole bytes.Buffer
	for i, p := range list.Parts {
		part, ok := u.parts[p.PartNumber]
		switch {
		case !ok || part.etag != p.ETag:
			refuseXML(w, http.StatusBadRequest, "InvalidPart")
			return false
		case i < len(list.Parts)-1 && len(part.content) < 5<<20:
			refuseXML(w, http.StatusBadRequest, "EntityTooSmall")
			return false
		}
		whole.Write(part.content)
	}
	o := x.client.Bucket(u.bucket).Object(u.name).NewWriter(r.Context())
	o.ForceEmptyContentType = true
	o.ContentType, o.ContentEncoding = u.header.Get("Content-Type"), u.header.Get("Content-Encoding")
	o.CacheControl, o.StorageClass = u.header.Get("Cache-Control"), u.header.Get("X-Goog-Storage-Class")
	o.Metadata = make(map[string]string)
	for name, values := range u.header {
		if name, ok := strings.CutPrefix(name, "X-Goog-Meta-"); ok {
			o.Metadata[strings.ToLower(name)] = values[0]
		}
	}
	_, err := o.Write(whole.Bytes())
	if closed := o.Close(); err != nil || closed != nil {
		x.t.Errorf("store what was completed: %v, %v", err, closed)
	}
	w.Header().Set("X-Goog-Generation", strconv.FormatInt(o.Attrs().Generation, 10))
	fmt.Fprint(w, "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>")
	return true
}

func refuseXML(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.Header().Set("X-GUploader-UploadID", "request-1")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>as the test says</Message></Error>", code)
}

// unpack answers a read with more bytes than are stored, as a server does that
// unpacks on the way.
func unpack(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/storage/") {
		return false
	}
	fmt.Fprint(w, "unpacked content")
	return true
}
