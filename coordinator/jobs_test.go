package coordinator

import (
	"errors"
	"strings"
	"testing"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

func TestSiteOf(t *testing.T) {
	t.Parallel()
	stores := config.Stores{
		"old":    {Match: []string{"s3://photos", "s3://photos-archive"}, Site: "ireland"},
		"videos": {Match: []string{"s3://photos/videos"}, Site: "paris"},
		"new":    {URL: "gs://images", Match: []string{"gs://images"}, Site: "tokyo"},
		"nosite": {Match: []string{"s3://logs"}},
	}
	tests := []struct {
		asked, source, target, want string
		wrong                       string // part of the error; empty: none
	}{
		{"", "s3://photos/x", "gs://images", "ireland", ""},
		{"", "file:///a", "gs://images", "tokyo", ""},
		{"", "s3://logs", "s3://other", "default", ""},
		{"source", "s3://photos/x", "gs://images", "ireland", ""},
		{"source", "s3://photos/videos/2020", "gs://images", "paris", ""},
		{"source", "s3://photos/videos2", "gs://images", "ireland", ""},
		{"source", "s3://photos?endpoint=http://elsewhere", "gs://images", "ireland", ""},
		{"source", "store://old/x", "gs://images", "ireland", ""},
		{"target", "s3://photos/x", "store://new/", "tokyo", ""},
		{"target", "s3://photos/x", "gs://images/y/", "tokyo", ""},
		{"target", "s3://photos", "file:///a", "", "for its target; add an entry to stores that matches it"},
		{"source", "s3://photos-2", "gs://images", "", "for its source"},
		{"source", "s3://logs", "gs://images", "", "for its source"},
		{"source", "store://nosite/", "gs://images", "", "give stores.nosite a site"},
		{"source", "store://unknown/", "gs://images", "", "give stores.unknown a site, or name the site itself"},
		{"any", "s3://photos", "gs://images", work.AnySite, ""},
		{"mars", "s3://photos", "gs://images", "mars", ""},
	}
	for _, tt := range tests {
		got, err := siteOf(stores, work.NewJob{Site: tt.asked, Source: tt.source, Target: tt.target})
		if got != tt.want || (err == nil) != (tt.wrong == "") {
			t.Errorf("siteOf(%q, %s, %s) = %q, %v, want %q", tt.asked, tt.source, tt.target, got, err, tt.want)
		}
		if err != nil && (!errors.Is(err, work.ErrSite) || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("siteOf(%q, %s, %s): %v, want %q", tt.asked, tt.source, tt.target, err, tt.wrong)
		}
	}
}
