package s3store

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// options are what a store's URL says about the service and the identity. They
// are comparable: stores with equal options share a client.
type options struct {
	region       string
	endpoint     string
	profile      string
	pathStyle    bool
	disableHTTPS bool
	anonymous    bool
	dualStack    bool
	fips         bool
	accelerate   bool
	credentials  storage.Credentials
}

// known are the query parameters that a store's URL may have: those of the Go
// CDK's s3blob that have a meaning here, under the same names.
var known = []string{
	"accelerate", "anonymous", "awssdk", "disable_https", "dualstack", "endpoint", "fips", "hostname_immutable",
	"kmskeyid", "prefix", "profile", "region", "request_checksum_calculation", "response_checksum_validation",
	"s3ForcePathStyle", "ssetype", "use_path_style",
}

// regions are the names that a region can have, those of compatible servers
// among them, which also like capitals.
var regions = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)

// with returns the options with the identity of credentials; the profile and
// the anonymity of a URL give way to theirs.
func (o options) with(c storage.Credentials) (options, error) {
	if c.IsZero() {
		return o, nil
	}
	if err := c.Check("access_key_id", "secret_access_key", "session_token", "profile", "anonymous"); err != nil {
		return o, err
	}
	o.profile, o.anonymous = c.Get("profile"), false
	if text := c.Get("anonymous"); text != "" {
		var err error
		if o.anonymous, err = strconv.ParseBool(text); err != nil {
			return o, fmt.Errorf("credential anonymous is %q, want true or false", text)
		}
	}
	if c.Get("access_key_id") != "" {
		o.credentials = c
	}
	return o, nil
}

// parseURL splits a store's URL into bucket, prefix and options.
func parseURL(u *url.URL) (bucket, prefix string, o options, err error) {
	if u.Host == "" {
		return "", "", o, errors.New("no bucket: write s3://bucket or s3://bucket/prefix")
	}
	if u.Query().Has("role") {
		return "", "", o, errors.New("parameter role is not supported: put role_arn into a profile of the agents' AWS configuration, and name it with profile=…")
	}
	if err := storage.CheckQuery(u, known...); err != nil {
		return "", "", o, err
	}
	if prefix, err = storage.Prefix(u); err != nil {
		return "", "", o, err
	}
	q := u.Query()
	o = options{region: q.Get("region"), endpoint: q.Get("endpoint"), profile: q.Get("profile")}
	if o.region != "" && !regions.MatchString(o.region) {
		return "", "", o, fmt.Errorf("parameter region is %s, which is not the name of a region: 1 to 63 letters, digits and hyphens", work.Quote(o.region))
	}
	// An endpoint whose host name must stay as it is leaves only the path for
	// the bucket.
	var legacy, immutable bool
	for name, field := range map[string]*bool{
		"use_path_style": &o.pathStyle, "s3ForcePathStyle": &legacy, "hostname_immutable": &immutable,
		"disable_https": &o.disableHTTPS, "anonymous": &o.anonymous, "dualstack": &o.dualStack,
		"fips": &o.fips, "accelerate": &o.accelerate,
	} {
		if text := q.Get(name); text != "" {
			if *field, err = strconv.ParseBool(text); err != nil {
				return "", "", o, fmt.Errorf("parameter %s is %q, want true or false", name, text)
			}
		}
	}
	o.pathStyle = o.pathStyle || legacy || immutable
	// These are read so that URLs made for the Go CDK work. What they choose
	// between does not arise: the checksums that the source vouches for are
	// sent, those of an answer are reported, and others are not made up.
	for _, name := range []string{"request_checksum_calculation", "response_checksum_validation"} {
		if text := q.Get(name); text != "" && text != "when_supported" && text != "when_required" {
			return "", "", o, fmt.Errorf("parameter %s is %q, want when_supported or when_required", name, text)
		}
	}
	return u.Host, prefix, o, nil
}
