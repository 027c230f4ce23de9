package work

import (
	"net/url"
	"slices"
	"strings"
)

// SecretIn names what of a store's URL holds a secret, or looks as if it did;
// "" if nothing does. Jobs are stored and shown, so no URL of theirs may hold
// one. The name never quotes a value.
func SecretIn(u *url.URL) string {
	if u.User != nil {
		return "a user before the @"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "a query that cannot be read"
	}
	for name, values := range query {
		if secretName(name) {
			return "the parameter " + Clip(name)
		}
		for _, v := range values {
			if inner, err := url.Parse(v); err != nil && strings.Contains(v, "@") || err == nil && inner.User != nil {
				return "a user before the @ of the parameter " + Clip(name)
			}
			if name := signedPart(v); name != "" {
				return "the parameter " + Clip(name) + " of a signed URL"
			}
		}
	}
	if name := signedPart(u.Path); name != "" {
		return "the parameter " + Clip(name) + " of a signed URL, in its path"
	}
	return ""
}

// signedPart returns the name of a secret parameter that a text shows, as of a
// signed URL whose question mark was escaped; "" if it shows none.
func signedPart(text string) string {
	_, rest, ok := strings.Cut(text, "?")
	if !ok {
		return ""
	}
	for part := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == '&' || r == ';' || r == '?' }) {
		if name, value, ok := strings.Cut(part, "="); ok && value != "" && secretName(name) {
			return name
		}
	}
	return ""
}

// Names of parameters that hold secrets: by their whole, their beginning, and
// what is in them. Those of two letters belong to Azure's shared access
// signatures.
var (
	secretNames    = []string{"key", "sas", "sig", "se", "sp", "sr", "ss", "srt", "st", "sv", "skoid", "sktid", "googleaccessid"}
	secretPrefixes = []string{"x-amz-", "x-goog-"}
	secretParts    = []string{"password", "passwd", "secret", "token", "credential", "signature", "access_key", "accesskey", "api_key", "apikey",
		"account_key", "accountkey", "private_key", "connection_string", "connectionstring"}
)

func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(secretNames, name) ||
		slices.ContainsFunc(secretPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) ||
		slices.ContainsFunc(secretParts, func(p string) bool { return strings.Contains(name, p) })
}
