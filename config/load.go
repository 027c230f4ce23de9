package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads the YAML file at path over the defaults; an empty path means the
// defaults alone. An error names the file, the line and the column. It does
// not look at the environment and does not Validate.
func Load(path string) (Config, error) {
	if path == "" {
		return Default(), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	return parse(path, b)
}

func parse(path string, b []byte) (Config, error) {
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := dec.Decode(&c); errors.Is(err, io.EOF) {
		return Default(), nil // nothing but comments
	} else if err != nil {
		return Config{}, located(path, b, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: more than one document; keep one and remove the --- lines", path)
	}
	return c, nil
}

// located rewrites a decoder's error to one line that says where and what.
// The decoder's own text quotes the lines around, which may hold secrets.
func located(path string, b []byte, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	pos := at.GetToken().Position
	key := keyAt(b, pos.Line, pos.Column)
	return fmt.Errorf("%s:%d:%d: %s", path, pos.Line, pos.Column, explain(key, at))
}

// explain says what is wrong with the value of key, which is empty when the
// file is not YAML.
func explain(key string, err yaml.Error) string {
	var (
		unknown  *yaml.UnknownFieldError
		mismatch *yaml.TypeError
		overflow *yaml.OverflowError
		shape    *yaml.UnexpectedNodeTypeError
	)
	switch {
	case errors.As(err, &unknown):
		s := fmt.Sprintf("unknown key %q", key)
		if near := Nearest(key, Keys()); near != "" {
			s += fmt.Sprintf("; did you mean %q?", near)
		}
		return s
	case errors.As(err, &mismatch):
		return fmt.Sprintf("%s: want %s", key, kindWord(mismatch.DstType))
	case errors.As(err, &overflow):
		return fmt.Sprintf("%s: %s is not %s in range", key, overflow.SrcNum, kindWord(overflow.DstType))
	case errors.As(err, &shape):
		return fmt.Sprintf("%s: want a %s, not a %s", key, shape.Expected.YAMLName(), shape.Actual.YAMLName())
	case key != "":
		return key + ": " + err.GetMessage()
	}
	return err.GetMessage()
}

// kindWord names what a key of type t takes.
func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.String:
		return "a text"
	case reflect.Struct:
		return "a mapping of keys"
	}
	return "a " + t.Kind().String()
}

// keyAt returns the dotted key whose name or value stands at a position, or ""
// if there is none.
func keyAt(b []byte, line, column int) string {
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return ""
	}
	f := &finder{line: line, column: column}
	for _, doc := range file.Docs {
		ast.Walk(f, doc)
	}
	return strings.TrimPrefix(strings.TrimPrefix(f.path, "$"), ".")
}

// A finder is a visitor that keeps the path of the deepest node at a position.
type finder struct {
	line, column int
	path         string
}

// Visit implements ast.Visitor.
func (f *finder) Visit(n ast.Node) ast.Visitor {
	if t := n.GetToken(); t != nil && t.Position.Line == f.line && t.Position.Column == f.column {
		f.path = n.GetPath()
	}
	return f
}

// Keys lists every key of the file, dotted, in the order of Config.
func Keys() []string { return keysOf("", reflect.TypeFor[Config]()) }

func keysOf(prefix string, t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("yaml")
		keys = append(keys, name)
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]() {
			keys = append(keys, keysOf(name+".", f.Type)...)
		}
	}
	return keys
}
