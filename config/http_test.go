package config

import (
	"slices"
	"testing"
)

func TestPublicHTTP(t *testing.T) {
	t.Parallel()
	h := HTTP{Listen: "0.0.0.0:8480", URL: "https://tranship.example.org:8443/", TLS: TLS{Certificate: "/c", Key: "/k"}}
	c := Default()
	c.HTTP = h
	if err := c.Validate(); err != nil {
		t.Errorf("Validate of %+v = %v, want nil", h, err)
	}
	if got, want := h.Hosts(), []string{"0.0.0.0", "tranship.example.org"}; !slices.Equal(got, want) {
		t.Errorf("Hosts() = %q, want %q", got, want)
	}
	c.HTTP = HTTP{Listen: "localhost:8480", URL: "http://localhost:8480", Open: true}
	if err := c.Validate(); err != nil {
		t.Errorf("Validate of %+v = %v, want nil", c.HTTP, err)
	}
}
