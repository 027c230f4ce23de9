package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// A gcsEnd is a fake-gcs-server, filled and read by plain HTTP.
type gcsEnd struct{ srv *servers.GCS }

func (e gcsEnd) name() string { return "gs" }

func (e gcsEnd) place(t testing.TB, name string) string {
	e.srv.CreateBucket(t, name)
	return e.srv.URL(name, "")
}

// gcsObject is what the JSON API says of an object.
type gcsObject struct {
	Name        string            `json:"name"`
	ContentType string            `json:"contentType,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

func (e gcsEnd) fill(t testing.TB, name string, objects corpus) {
	t.Helper()
	for key, b := range objects {
		o := gcsObject{Name: key}
		if strings.HasPrefix(key, "odd/") {
			o.ContentType, o.Metadata = contentType, metadata
		}
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		head, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []struct {
			kind string
			b    []byte
		}{{"application/json", head}, {"application/octet-stream", b}} {
			if part.kind != "application/json" && o.ContentType != "" {
				part.kind = o.ContentType
			}
			pw, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind}})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = pw.Write(part.b) // into memory
		}
		w.Close()
		resp, err := http.Post("http://"+e.srv.Endpoint+"/upload/storage/v1/b/"+name+"/o?uploadType=multipart",
			"multipart/related; boundary="+w.Boundary(), &body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("oracle: put %q: %s", key, resp.Status)
		}
	}
}

// get asks the JSON API.
func (e gcsEnd) get(t testing.TB, path string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + e.srv.Endpoint + "/storage/v1/b/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("oracle: get %s: %s, %v", path, resp.Status, err)
	}
	return b
}

func (e gcsEnd) inventory(t testing.TB, name string) inventory {
	t.Helper()
	inv := inventory{}
	for token := ""; ; {
		var page struct {
			Items []gcsObject `json:"items"`
			Next  string      `json:"nextPageToken"`
		}
		if err := json.Unmarshal(e.get(t, name+"/o?pageToken="+url.QueryEscape(token)), &page); err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Items {
			inv[o.Name] = hash(e.get(t, name+"/o/"+url.PathEscape(o.Name)+"?alt=media"))
		}
		if token = page.Next; token == "" {
			return inv
		}
	}
}

func (e gcsEnd) headers(t testing.TB, name, key string) map[string]string {
	t.Helper()
	var o gcsObject
	if err := json.Unmarshal(e.get(t, name+"/o/"+url.PathEscape(key)), &o); err != nil {
		t.Fatal(err)
	}
	h := map[string]string{"content type": o.ContentType}
	for k, v := range o.Metadata {
		h["metadata "+k] = v
	}
	delete(h, "metadata mtime")
	return h
}

// An azureEnd is an account of an Azurite, filled and read by the SDK.
type azureEnd struct{ account *servers.AzureAccount }

func newAzureEnd(t testing.TB) azureEnd {
	t.Helper()
	account, _ := servers.Azurite(t)
	name, value, _ := strings.Cut(account.Env(), "=")
	if err := os.Setenv(name, value); err != nil {
		t.Fatal(err)
	}
	return azureEnd{account}
}

func (e azureEnd) name() string { return "azblob" }

func (e azureEnd) place(t testing.TB, name string) string {
	e.account.CreateContainer(t, name)
	return e.account.URL(name, "")
}

func (e azureEnd) fill(t testing.TB, name string, objects corpus) {
	t.Helper()
	for key, b := range objects {
		var o azblob.UploadBufferOptions
		if strings.HasPrefix(key, "odd/") {
			owner := metadata["owner"]
			o.HTTPHeaders, o.Metadata = &blob.HTTPHeaders{BlobContentType: &contentType}, map[string]*string{"owner": &owner}
		}
		if _, err := e.account.Client().UploadBuffer(t.Context(), name, key, b, &o); err != nil {
			t.Fatal(fmt.Errorf("oracle: put %q: %w", key, err))
		}
	}
}

func (e azureEnd) inventory(t testing.TB, name string) inventory {
	t.Helper()
	inv := inventory{}
	pages := e.account.Client().NewListBlobsFlatPager(name, nil)
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			out, err := e.account.Client().DownloadStream(t.Context(), name, *item.Name, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(out.Body)
			out.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			inv[*item.Name] = hash(b)
		}
	}
	return inv
}

func (e azureEnd) headers(t testing.TB, name, key string) map[string]string {
	t.Helper()
	out, err := e.account.Client().ServiceClient().NewContainerClient(name).NewBlobClient(key).GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := map[string]string{"content type": text(out.ContentType)}
	for k, v := range out.Metadata {
		h["metadata "+strings.ToLower(k)] = text(v)
	}
	delete(h, "metadata mtime")
	return h
}
