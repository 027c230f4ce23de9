package s3store

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// samplePage is a page as Amazon sends it, with all there may be.
const samplePage = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix>` +
	`<StartAfter/><NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken><KeyCount>2</KeyCount>` +
	`<MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>` +
	`<Contents><Key>p/a+b%2Bc%0A%25.txt</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>` +
	`<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>` +
	`<Size>5368709121</Size><Owner><ID>x</ID><DisplayName/></Owner><StorageClass>STANDARD</StorageClass></Contents>` + "\n" +
	`<Contents><Key>p/%C3%A9</Key><LastModified>2026-01-02T03:04:06Z</LastModified><ETag>"abc-2"</ETag><Size>0</Size></Contents>` +
	`<CommonPrefixes><Prefix>p/q/</Prefix></CommonPrefixes></ListBucketResult>`

func TestParsePage(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := page{truncated: true, token: "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=", entries: []entry{
		{key: "p/a b+c\n%.txt", size: 5368709121, etag: "d41d8cd98f00b204e9800998ecf8427e", modTime: at},
		{key: "p/é", etag: "abc-2", modTime: at.Add(time.Second)},
	}}
	prefix := "p/"
	want.about = about{truncated: "true", count: 2, groups: 1, prefix: &prefix}
	got, err := parsePage([]byte(samplePage))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parsePage = %+v, %v; want %+v", got, err, want)
	}
	// A server that ignores encoding-type writes keys as XML text.
	plain := strings.NewReplacer("<EncodingType>url</EncodingType>", "", "p/a+b%2Bc%0A%25.txt", "p/a+b%20&amp;&lt;&gt;&apos;&#xA;&#233;").Replace(samplePage)
	got, err = parsePage([]byte(plain))
	if err != nil || got.entries[0].key != "p/a+b%20&<>'\né" {
		t.Errorf("parsePage of text = %+v, %v", got.entries, err)
	}
	got, err = parsePage([]byte(`<ListBucketResult/>`))
	if err != nil || len(got.entries) != 0 || got.truncated {
		t.Errorf("parsePage of nothing = %+v, %v", got, err)
	}
}

// TestParsePageCut sees that no page that was cut off passes for a whole one.
func TestParsePageCut(t *testing.T) {
	t.Parallel()
	for i := range len(samplePage) {
		if p, err := parsePage([]byte(samplePage[:i])); err == nil {
			t.Fatalf("the first %d bytes of a page pass for a page of %d objects", i, len(p.entries))
		}
	}
}

func TestParsePageRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an error":       `<Error><Code>InternalError</Code></Error>`,
		"HTML":           `<html><body>hello</body></html>`,
		"no key":         `<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>`,
		"no number":      `<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>`,
		"below zero":     `<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>`,
		"no time":        `<ListBucketResult><Contents><Key>a</Key><LastModified>now</LastModified></Contents></ListBucketResult>`,
		"wrong end":      `<ListBucketResult><Contents><Key>a</Contents></Key></ListBucketResult>`,
		"bad code":       `<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2</Key></Contents></ListBucketResult>`,
		"bad reference":  `<ListBucketResult><Contents><Key>a&nbsp;</Key></Contents></ListBucketResult>`,
		"open reference": `<ListBucketResult><Contents><Key>a&amp</Key></Contents></ListBucketResult>`,
		"no rune":        `<ListBucketResult><Contents><Key>&#xD800;</Key></Contents></ListBucketResult>`,
		"CDATA":          `<ListBucketResult><Contents><Key><![CDATA[a]]></Key></Contents></ListBucketResult>`,
	} {
		if p, err := parsePage([]byte(text)); err == nil {
			t.Errorf("parsePage of %s = %+v, want an error", name, p)
		}
	}
}

// FuzzPage parses any bytes, and pages made of them, which must be read as
// the general decoder reads them.
func FuzzPage(f *testing.F) {
	f.Add([]byte(samplePage), "a b", "etag", int64(1), true)
	f.Add([]byte("<ListBucketResult><Contents></Contents"), "a&<>\r\n%", `"`, int64(1<<40), false)
	f.Fuzz(func(t *testing.T, raw []byte, key, etag string, size int64, coded bool) {
		if p, err := parsePage(raw); err == nil {
			for _, e := range p.entries {
				if e.size < 0 || e.key == "" {
					t.Errorf("parsePage(%q) = %+v", raw, p)
				}
			}
		}
		if key == "" || size < 0 {
			return
		}
		sent, encoding := key, ""
		if coded {
			sent, encoding = url.QueryEscape(key), "<EncodingType>url</EncodingType>"
		}
		text := fmt.Sprintf("<ListBucketResult>%s<Contents><ETag>%s</ETag><Key>%s</Key><Size>%d</Size></Contents></ListBucketResult>",
			encoding, escapeXML(etag), escapeXML(sent), size)
		var want struct{ Contents []struct{ Key, ETag string } }
		if err := xml.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		wantKey := want.Contents[0].Key // not the key if XML cannot hold it
		if coded {
			wantKey = key
		}
		p, err := parsePage([]byte(text))
		if err != nil || len(p.entries) != 1 || p.entries[0].key != wantKey || p.entries[0].etag != unquote(want.Contents[0].ETag) || p.entries[0].size != size {
			t.Errorf("parsePage(%q) = %+v, %v; want key %q", text, p, err, wantKey)
		}
	})
}

func escapeXML(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer never fails
	return b.String()
}

// BenchmarkParsePage reads a page of a thousand keys.
func BenchmarkParsePage(b *testing.B) {
	head, rest, _ := strings.Cut(samplePage, "<Contents>")
	one, _, _ := strings.Cut(rest, "</Contents>")
	text := []byte(head + strings.Repeat("<Contents>"+one+"</Contents>", 1000) + "</ListBucketResult>")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	scratch := make([]byte, len(text))
	for b.Loop() {
		copy(scratch, text)
		if _, err := parsePage(scratch); err != nil {
			b.Fatal(err)
		}
	}
}
