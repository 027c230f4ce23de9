package s3store

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		raw            string
		bucket, prefix string
		want           options
	}{
		{"s3://b", "b", "", options{}},
		{"s3://b/", "b", "", options{}},
		{"s3://b/a/b", "b", "a/b/", options{}},
		{"s3://b/a%20b/", "b", "a b/", options{}},
		{"s3://b?prefix=raw", "b", "raw", options{}},
		{"s3://b?region=eu-west-1&profile=p", "b", "", options{region: "eu-west-1", profile: "p"}},
		{"s3://b?endpoint=http://h:1&s3ForcePathStyle=true", "b", "", options{endpoint: "http://h:1", pathStyle: true}},
		{"s3://b?endpoint=h:1&hostname_immutable=1&disable_https=1", "b", "", options{endpoint: "h:1", pathStyle: true, disableHTTPS: true}},
		{"s3://b?use_path_style=true&s3ForcePathStyle=false", "b", "", options{pathStyle: true}},
		{"s3://b?anonymous=true&dualstack=true&fips=true&accelerate=true&awssdk=v2", "b", "",
			options{anonymous: true, dualStack: true, fips: true, accelerate: true}},
		{"s3://b?request_checksum_calculation=when_required&response_checksum_validation=when_supported", "b", "", options{}},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.raw)
		if err != nil {
			t.Fatal(err)
		}
		bucket, prefix, got, err := parseURL(u)
		if err != nil || bucket != tt.bucket || prefix != tt.prefix || got != tt.want {
			t.Errorf("parseURL(%s) = %q, %q, %+v, %v; want %q, %q, %+v", tt.raw, bucket, prefix, got, err, tt.bucket, tt.prefix, tt.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"s3://":             "no bucket",
		"s3://b?regoin=x":   "use_path_style",
		"s3://b?fips=maybe": "fips",
		"s3://b?request_checksum_calculation=sometimes": "when_required",
		"s3://b/p?prefix=q":                             "prefix",
		"s3://b--use1-az4--x-s3?region=us-east-1":       "directory bucket",
		"s3://b?profile=no-such-profile":                "no-such-profile",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), u, storage.Credentials{})
		if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want an invalid that names %s", raw, err, want)
		}
	}
}

// A region is pasted into the host that signed requests are sent to.
func TestRegionThatNamesAHost(t *testing.T) {
	t.Parallel()
	for _, region := range []string{"evil.example/", "x@evil.example/", "evil.example#", "evil.example?", "evil.example", "a_b", "eu-west-1\n", strings.Repeat("a", 64)} {
		for _, rest := range []url.Values{{}, {"endpoint": {"http://127.0.0.1:1"}}} {
			rest.Set("region", region)
			u := &url.URL{Scheme: "s3", Host: "bkt", RawQuery: rest.Encode()}
			s, err := Open(t.Context(), u, storage.Credentials{})
			if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), "not the name of a region") {
				t.Errorf("%q: Open = %v, %v, want it refused", region, s, err)
			}
		}
	}
	for _, region := range []string{"eu-west-1", "auto", "RegionOne"} {
		if got := openURL(t, "s3://bkt?endpoint=http://127.0.0.1:1&region="+region).place.region; got != region {
			t.Errorf("region %s is %s", region, got)
		}
	}
}

// TestLocate sees where requests to a bucket go.
func TestLocate(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]place{
		"s3://bkt?region=eu-west-1":                                                        {"https", "bkt.s3.eu-west-1.amazonaws.com", "", "s3", "eu-west-1"},
		"s3://bkt?region=eu-west-1&use_path_style=true":                                    {"https", "s3.eu-west-1.amazonaws.com", "/bkt", "s3", "eu-west-1"},
		"s3://bkt.c?region=eu-west-1":                                                      {"https", "s3.eu-west-1.amazonaws.com", "/bkt.c", "s3", "eu-west-1"},
		"s3://bkt?region=eu-west-1&dualstack=true":                                         {"https", "bkt.s3.dualstack.eu-west-1.amazonaws.com", "", "s3", "eu-west-1"},
		"s3://bkt?region=us-east-1&fips=true":                                              {"https", "bkt.s3-fips.us-east-1.amazonaws.com", "", "s3", "us-east-1"},
		"s3://bkt?region=us-east-1&accelerate=true":                                        {"https", "bkt.s3-accelerate.amazonaws.com", "", "s3", "us-east-1"},
		"s3://bkt?region=us-east-1&disable_https=true":                                     {"http", "bkt.s3.us-east-1.amazonaws.com", "", "s3", "us-east-1"},
		"s3://bkt?region=r&endpoint=https://h.example":                                     {"https", "bkt.h.example", "", "s3", "r"},
		"s3://bkt?endpoint=h.example:9000&disable_https=true&use_path_style=true&region=r": {"http", "h.example:9000", "/bkt", "s3", "r"},
		"s3://bkt?endpoint=http://h.example/s3/&use_path_style=true&region=r":              {"http", "h.example", "/s3/bkt", "s3", "r"},
	} {
		if got := openURL(t, raw).place; got != want {
			t.Errorf("the place of %s is %+v, want %+v", raw, got, want)
		}
	}
}

// TestShared sees that stores share a client while one of them is open.
func TestShared(t *testing.T) {
	t.Parallel()
	const raw = "?region=shared-1&endpoint=http://127.0.0.1:1&use_path_style=true"
	a, b, other := openURL(t, "s3://a"+raw), openURL(t, "s3://b/x"+raw), openURL(t, "s3://a"+raw+"&anonymous=true")
	if a.client != b.client {
		t.Error("two stores with the same options have two clients")
	}
	if a.client == other.client {
		t.Error("stores of different identities share a client")
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if again := openURL(t, "s3://a"+raw); again.client != b.client {
		t.Error("closing one store twice closed the client of another")
	}
}
