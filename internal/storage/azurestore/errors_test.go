package azurestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func headersWithMD5(sum []byte) *blob.HTTPHeaders { return &blob.HTTPHeaders{BlobContentMD5: sum} }

// answering returns a store of a service that answers everything the same way.
func answering(t *testing.T, status int, header map[string]string, code, message, detail string) *Store {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if code != "" {
			w.Header().Set("x-ms-error-code", code)
		}
		w.Header().Set("x-ms-request-id", "the-id")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s\nRequestId:the-id\nTime:now</Message>"+
			"<AuthenticationErrorDetail>%s</AuthenticationErrorDetail></Error>", code, message, detail)
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AZURE_STORAGE_KEY_FAKE", someKey)
	return openURL(t, "azblob://box?storage_account=fake&protocol=http&localemu=true&domain="+strings.TrimPrefix(srv.URL, "http://"))
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		status       int
		header       map[string]string
		code, detail string
		want         work.Fault
		after        time.Duration
		expired      bool
		field        work.Field
	}{
		{status: 404, code: "ContainerNotFound", want: work.NotFound},
		{status: 404, want: work.NotFound},
		{status: 403, code: "AuthorizationPermissionMismatch", want: work.Denied},
		{status: 403, code: "AuthenticationFailed", detail: "The MAC signature found in the HTTP request is wrong", want: work.Denied},
		{status: 403, code: "AuthenticationFailed", detail: "Signature not valid in the specified time frame: Start [a] - Expiry [b]", want: work.Denied, expired: true},
		{status: 401, code: "InvalidAuthenticationInfo", detail: "Lifetime validation failed. The token is expired.", want: work.Denied, expired: true},
		{status: 503, code: "ServerBusy", header: map[string]string{"Retry-After": "30"}, want: work.Throttled, after: 30 * time.Second},
		{status: 429, header: map[string]string{"x-ms-retry-after-ms": "4500"}, want: work.Throttled, after: 4500 * time.Millisecond},
		{status: 500, code: "OperationTimedOut", header: map[string]string{"Retry-After": "9"}, want: work.Throttled, after: 9 * time.Second},
		{status: 412, code: "ConditionNotMet", want: work.SrcChanged},
		{status: 412, code: "LeaseIdMissing", want: work.Denied},
		{status: 409, code: "BlobArchived", want: work.Unsupported, field: work.FieldArchived},
		{status: 409, code: "SomethingElse", want: work.Transient},
		{status: 400, code: "InvalidMetadata", want: work.Unsupported, field: work.FieldMetadata},
		{status: 400, code: "InvalidResourceName", want: work.Unsupported, field: work.FieldKeys},
		{status: 409, code: "FeatureNotYetSupportedForHierarchicalNamespaceAccounts", want: work.Unsupported},
		{status: 409, code: "FeatureNotSupportedForAccount", want: work.Unsupported},
		{status: 400, code: "Md5Mismatch", want: work.Corrupt},
		{status: 400, code: "Whatever", want: work.Invalid},
		{status: 301, want: work.Invalid},
	} {
		t.Run(fmt.Sprint(tt.status, tt.code), func(t *testing.T) {
			s := answering(t, tt.status, tt.header, tt.code, "what happened", tt.detail)
			_, _, err := s.Get(t.Context(), "key", "", 0, -1)
			var e *storage.Error
			if !errors.As(err, &e) {
				t.Fatalf("Get = %v, want a *storage.Error", err)
			}
			if e.Fault != tt.want || e.After != tt.after || e.Expired != tt.expired || e.Field != tt.field {
				t.Errorf("Get = fault %q after %v expired %v field %q, want %q %v %v %q", e.Fault, e.After, e.Expired, e.Field, tt.want, tt.after, tt.expired, tt.field)
			}
			text := err.Error()
			for _, word := range []string{tt.code, "what happened", tt.detail, "the-id"} {
				if !strings.Contains(text, word) {
					t.Errorf("the error does not say %q: %s", word, text)
				}
			}
			if strings.Contains(text, "\n") || e.Fault == work.Denied && e.Hint == "" {
				t.Errorf("the error has several lines or no hint: %s", text)
			}
		})
	}
}

// TestNobodyAnswers asks a service that is gone.
func TestNobodyAnswers(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	t.Setenv("AZURE_STORAGE_KEY_FAKE", someKey)
	s := openURL(t, "azblob://box?storage_account=fake&protocol=http&localemu=true&domain="+strings.TrimPrefix(gone.URL, "http://"))
	_, _, err := s.Get(t.Context(), "key", "", 0, -1)
	wantFault(t, "Get", err, work.Transient)
	var e *storage.Error
	if !errors.As(err, &e) || !e.Unreachable || e.Hint == "" {
		t.Errorf("Get = %+v, want that nobody answers, and a hint", e)
	}
}

// TestTagsNotTaken has an account refuse tags, and other things.
func TestTagsNotTaken(t *testing.T) {
	for code, want := range map[string]work.Field{
		"FeatureNotYetSupportedForHierarchicalNamespaceAccounts": work.FieldTags,
		"FeatureNotSupportedForAccount":                          work.FieldTags,
		"FeatureNotSupportedWithSomething":                       work.FieldTags,
		"BlobTypeNotSupported":                                   "",
	} {
		s := answering(t, http.StatusConflict, nil, code, "no", "")
		tagged := storage.PutOptions{Meta: storage.Meta{Tags: map[string]string{"a": "b"}}}
		check := func(what string, err error, want work.Field) {
			t.Helper()
			var e *storage.Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: %s = %v, want a *storage.Error", code, what, err)
			}
			if e.Fault != work.Unsupported || e.Field != want || strings.Contains(e.Hint, "tags=drop") != (want != "") {
				t.Errorf("%s: %s = %v with fault %q and field %q, want %q about %q", code, what, err, e.Fault, e.Field, work.Unsupported, want)
			}
		}
		_, err := s.Put(t.Context(), "key", strings.NewReader("x"), 1, tagged)
		check("Put", err, want)
		_, err = s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{})
		check("Put without tags", err, "")
		u, err := s.Begin(t.Context(), "key", 1, 1, tagged)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Commit(t.Context(), u, []storage.Part{{N: 1, Size: 1, Tag: tagOf(nonce{}, storage.Sums{})}}, tagged)
		check("Commit", err, want)
	}
}

// TestBodyBroughtDown tells failures of the source from those of the service.
func TestBodyBroughtDown(t *testing.T) {
	s := answering(t, 404, nil, "ContainerNotFound", "gone", "")
	cause := &storage.Error{Op: "get", Store: "source", Fault: work.SrcChanged, Err: errors.New("other version")}
	for _, size := range []int64{10, maxWhole + 10} {
		broken := io.MultiReader(bytes.NewReader(make([]byte, 5)), failing{cause})
		_, err := s.Put(t.Context(), "key", broken, size, storage.PutOptions{})
		wantFault(t, "Put of a broken body", err, work.SrcChanged)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestBodySeeks(t *testing.T) {
	t.Parallel()
	b := newBody(context.Background(), strings.NewReader("0123456789"), 5, storage.CRC32C)
	if n, err := b.Seek(0, io.SeekEnd); n != 5 || err != nil {
		t.Errorf("the end is at %d, %v, want 5", n, err)
	}
	for range 2 {
		if n, err := b.Seek(0, io.SeekStart); n != 0 || err != nil {
			t.Fatalf("Seek = %d, %v", n, err)
		}
		if got, err := io.ReadAll(b); string(got) != "01234" || err != nil {
			t.Errorf("read %q, %v, want the first five", got, err)
		}
	}
	sums, err := b.finish(nil)
	if _, differ := sums.Compare(truth([]byte("01234"))); differ != 0 || err != nil {
		t.Errorf("finish = %v differ, %v", differ, err)
	}
	if _, err := b.Read(make([]byte, 1)); err != errFinished {
		t.Errorf("Read after finish = %v", err)
	}

	b = newBody(context.Background(), io.MultiReader(strings.NewReader("01234")), 5, 0)
	if _, err := b.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seek(0, io.SeekStart); err == nil {
		t.Error("a stream went back to its start")
	}
	if _, err := b.finish(nil); err == nil {
		t.Error("a body that was not read whole ended well")
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	sent := truth([]byte("bytes"))
	swapped := bytes.Clone(sent.CRC64NVME)
	for i, j := 0, 7; i < j; i, j = i+1, j-1 {
		swapped[i], swapped[j] = swapped[j], swapped[i]
	}
	for _, tt := range []struct {
		name       string
		md5, crc64 []byte
		want       storage.Algos
		fault      work.Fault
	}{
		{"nothing", nil, nil, 0, ""},
		{"MD5", sent.MD5, nil, storage.MD5 | storage.CRC32C, ""},
		{"CRC64", nil, swapped, storage.CRC64NVME | storage.CRC32C, ""},
		{"wrong MD5", make([]byte, 16), nil, 0, work.Corrupt},
		{"wrong CRC64", sent.MD5, make([]byte, 8), 0, work.Corrupt},
	} {
		got, err := confirm(sent, tt.md5, tt.crc64)
		if got.Algos() != tt.want || faultOf(err) != tt.fault {
			t.Errorf("%s: confirm = %v, %v; want %v, %q", tt.name, got.Algos(), err, tt.want, tt.fault)
		}
		if _, differ := got.Compare(sent); differ != 0 {
			t.Errorf("%s: confirm gave a wrong %v", tt.name, differ)
		}
	}
}
