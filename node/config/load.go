package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// Load puts a configuration together: defaults, then the file (if a path is given), then variables of the environment, then flags.
func Load(file string, environ []string, flags map[string]string) (*Config, error) {
	c := Default()
	if file != "" {
		if err := c.readFile(file); err != nil {
			return nil, err
		}
	}
	if err := c.readEnvironment(environ); err != nil {
		return nil, err
	}
	for _, k := range Keys() {
		if text, ok := flags[k.Name]; ok {
			if err := c.Set(k.Name, text); err != nil {
				return nil, fmt.Errorf("%w: flag --%s: %w", ErrConfig, k.Flag(), err)
			}
		}
	}
	return c, c.Validate()
}

func (c *Config) readEnvironment(environ []string) error {
	byName := map[string]string{}
	for _, k := range Keys() {
		byName[k.Variable()] = k.Name
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		key, ok := byName[name]
		if !ok {
			continue
		}
		if err := c.Set(key, value); err != nil {
			return fmt.Errorf("%w: variable %s: %w", ErrConfig, name, err)
		}
	}
	return nil
}

func (c *Config) readFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrConfig, path, info.Size(), maxFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c.readYAML(path, raw)
}

// readYAML takes a flat mapping of known keys; anything else is refused with its line.
func (c *Config) readYAML(path string, raw []byte) error {
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		entries, ok := mappingOf(doc.Body)
		if !ok {
			return refuse(path, doc.Body.GetToken(), "want lines of the form key: value")
		}
		for _, e := range entries {
			if err := c.readEntry(path, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func mappingOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func (c *Config) readEntry(path string, e *ast.MappingValueNode) error {
	key := e.Key.GetToken()
	text, ok := scalarOf(e.Value)
	if !ok {
		return refuse(path, key, fmt.Sprintf("%s: want a plain value or a list of them; is the file complete?", key.Value))
	}
	if err := c.Set(key.Value, text); err != nil {
		return refuse(path, key, err.Error())
	}
	return nil
}

// scalarOf gives a plain value's text, or a list's items joined by commas.
func scalarOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.NullNode, *ast.MappingNode, *ast.MappingValueNode:
		return "", false
	case *ast.SequenceNode:
		var items []string
		for _, item := range n.Values {
			text, ok := scalarOf(item)
			if !ok {
				return "", false
			}
			items = append(items, text)
		}
		return strings.Join(items, ","), true
	}
	return n.GetToken().Value, true
}

func refuse(path string, at *token.Token, why string) error {
	return fmt.Errorf("%w: %s line %d: %s", ErrConfig, path, at.Position.Line, why)
}
