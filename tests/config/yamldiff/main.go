// What Go's yaml.v3 makes of a YAML text, for comparison with pairing/config/load.py.
//
// Reads one JSON string per line, writes one JSON object per line: {"error": "..."} or
// {"value": tree}, where a number is {"int": "12"} or {"float": "0x1p-1"}, and a date, which Go
// makes a time, is {"time": "as written"}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"gopkg.in/yaml.v3"
)

func tree(node *yaml.Node) (any, error) {
	switch node.Kind {
	case yaml.DocumentNode:
		return tree(node.Content[0])
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range node.Content {
			value, err := tree(item)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case yaml.MappingNode:
		pairs := []any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, err := tree(node.Content[i])
			if err != nil {
				return nil, err
			}
			value, err := tree(node.Content[i+1])
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, []any{key, value})
		}
		return map[string]any{"map": pairs}, nil
	case yaml.ScalarNode:
		return scalar(node)
	}
	return nil, fmt.Errorf("node kind %d", node.Kind)
}

func scalar(node *yaml.Node) (any, error) {
	if node.ShortTag() == "!!timestamp" {
		return map[string]any{"time": node.Value}, nil
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case int:
		return map[string]any{"int": strconv.Itoa(v)}, nil
	case int64:
		return map[string]any{"int": strconv.FormatInt(v, 10)}, nil
	case uint64:
		return map[string]any{"int": strconv.FormatUint(v, 10)}, nil
	case float64:
		return map[string]any{"float": strconv.FormatFloat(v, 'x', -1, 64)}, nil
	}
	return value, nil
}

func answer(text string) map[string]any {
	var ignored any
	if err := yaml.Unmarshal([]byte(text), &ignored); err != nil {
		return map[string]any{"error": err.Error()}
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		return map[string]any{"error": err.Error()}
	}
	if node.Kind == 0 {
		return map[string]any{"value": nil}
	}
	value, err := tree(&node)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"value": value}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			panic(err)
		}
		if err := out.Encode(answer(text)); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}
