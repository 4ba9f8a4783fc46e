package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"ctappliance/cmd/ctappliance/plain"
)

// Limits of a config file. They keep the YAML library, which recurses, away
// from texts that no configuration needs.
const (
	maxConfigSize  = 1 << 20 // bytes
	maxConfigDepth = 32      // brackets, or dashes and question marks on one line
)

// yamlNode is a YAML value with the line that it stands on: all that the
// loader needs of the document, without anchors, tags and types, which a
// configuration does without.
type yamlNode struct {
	line  int
	kind  yamlKind
	text  string     // of a scalar, unquoted
	pairs []yamlPair // of a mapping, in order
	items []yamlNode // of a list
}

type yamlPair struct {
	key   string
	line  int
	value yamlNode
}

type yamlKind uint8

const (
	yamlNull yamlKind = iota
	yamlScalar
	yamlMapping
	yamlList
)

// String names the kind as an error message does.
func (k yamlKind) String() string {
	return [...]string{"nothing", "a single value", "settings", "a list"}[k]
}

// yamlError is something wrong on a line of a YAML text.
type yamlError struct {
	line int
	msg  string
}

func (e *yamlError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.msg) }

// parseYAML reads one document. An empty text is yamlNull.
func parseYAML(text []byte) (yamlNode, error) {
	if len(text) > maxConfigSize {
		return yamlNode{}, &yamlError{1, fmt.Sprintf("larger than %s, which no configuration needs", Size(maxConfigSize))}
	}
	if err := checkDepth(string(text)); err != nil {
		return yamlNode{}, err
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) {
			msg, _, _ := strings.Cut(ye.GetMessage(), "\n")
			return yamlNode{}, &yamlError{lineOf(ye.GetToken()), "is not YAML: " + plain.Printable(msg)}
		}
		return yamlNode{}, &yamlError{1, "is not YAML: " + plain.Printable(err.Error())}
	}
	var root yamlNode
	seen := false
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if seen {
			return yamlNode{}, &yamlError{lineOf(d.Body.GetToken()), "a second document begins; a config file has one"}
		}
		seen = true
		if root, err = simplify(d.Body, 0); err != nil {
			return yamlNode{}, err
		}
	}
	return root, nil
}

// checkDepth refuses texts that nest deeper than maxConfigDepth. It counts
// brackets wherever they stand, quoted ones too: a quoted text with 32 opening
// brackets is not missed by anybody.
func checkDepth(text string) error {
	depth, line, lead := 0, 1, 0
	leading := true // only indentation, dashes and question marks so far on this line
	for _, r := range text {
		switch r {
		case '\n':
			line, lead, leading = line+1, 0, true
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '-', '?', ':':
			if leading {
				lead++
			}
			continue
		case ' ', '\t':
			continue
		}
		leading = false
		if depth > maxConfigDepth || lead > maxConfigDepth {
			return &yamlError{line, fmt.Sprintf("nests deeper than %d levels", maxConfigDepth)}
		}
	}
	return nil
}

func lineOf(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return t.Position.Line
}

// simplify turns the library's tree into ours.
func simplify(n ast.Node, depth int) (yamlNode, error) {
	if n == nil {
		return yamlNode{line: 1}, nil
	}
	out := yamlNode{line: lineOf(n.GetToken())}
	if depth > maxConfigDepth {
		return out, &yamlError{out.line, fmt.Sprintf("nests deeper than %d levels", maxConfigDepth)}
	}
	switch n := n.(type) {
	case *ast.NullNode, *ast.CommentGroupNode, *ast.CommentNode:
		return out, nil
	case *ast.StringNode:
		out.kind, out.text = yamlScalar, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = yamlScalar, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = yamlScalar, n.GetToken().Value
	case *ast.MappingValueNode:
		out.kind = yamlMapping
		p, err := simplifyPair(n, depth)
		if err != nil {
			return out, err
		}
		out.line, out.pairs = p.line, []yamlPair{p}
	case *ast.MappingNode:
		out.kind = yamlMapping
		for i, v := range n.Values {
			p, err := simplifyPair(v, depth)
			if err != nil {
				return out, err
			}
			if i == 0 && !n.IsFlowStyle {
				out.line = p.line
			}
			out.pairs = append(out.pairs, p)
		}
	case *ast.SequenceNode:
		out.kind = yamlList
		for _, v := range n.Values {
			item, err := simplify(v, depth+1)
			if err != nil {
				return out, err
			}
			out.items = append(out.items, item)
		}
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return out, &yamlError{out.line, "anchors and aliases (&, *, <<) are not understood here; write the value out"}
	case *ast.TagNode:
		return out, &yamlError{out.line, "tags (!) are not understood here; put a value that begins with ! in quotes"}
	default:
		return out, &yamlError{out.line, "is YAML that a config file does without"}
	}
	return out, nil
}

func simplifyPair(n *ast.MappingValueNode, depth int) (yamlPair, error) {
	line := lineOf(n.Start)
	if n.Key == nil {
		return yamlPair{}, &yamlError{line, "a value without a key"}
	}
	line = lineOf(n.Key.GetToken())
	key, ok := n.Key.(ast.Node).(ast.ScalarNode)
	if !ok || n.Key.IsMergeKey() {
		return yamlPair{}, &yamlError{line, "a key must be one word"}
	}
	text := key.GetToken().Value
	if s, ok := key.(*ast.StringNode); ok {
		text = s.Value
	}
	v, err := simplify(n.Value, depth+1)
	if err != nil {
		return yamlPair{}, err
	}
	return yamlPair{key: text, line: line, value: v}, nil
}
