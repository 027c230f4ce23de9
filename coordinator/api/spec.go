package api

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/goccy/go-yaml"
)

// Spec is the OpenAPI description of every route, as YAML.
//
//go:embed openapi.yaml
var Spec []byte

// SpecJSON returns Spec as JSON.
var SpecJSON = sync.OnceValues(func() ([]byte, error) {
	b, err := yaml.YAMLToJSON(Spec)
	if err != nil {
		return nil, fmt.Errorf("turn the OpenAPI file into JSON: %w", err)
	}
	return b, nil
})
