// Command promql-names prints what PromQL expressions read, by Prometheus' own parser.
//
// Input: ["expression", …]. Output: for each expression, its selectors with metric, matchers, and the labels that
// the enclosing aggregations and vector matchings name.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type matcher struct {
	Label string `json:"label"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

type selector struct {
	Metric   string    `json:"metric"`
	Matchers []matcher `json:"matchers"`
	Labels   []string  `json:"labels"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "promql-names:", err)
		os.Exit(1)
	}
}

func run() error {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		return fmt.Errorf("failed to read the expressions: %w", err)
	}
	out := make([][]selector, 0, len(expressions))
	parse := parser.NewParser(parser.Options{})
	for _, text := range expressions {
		expr, err := parse.ParseExpr(text)
		if err != nil {
			return fmt.Errorf("failed to parse %q: %w", text, err)
		}
		selectors := []selector{}
		parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
			if vector, ok := node.(*parser.VectorSelector); ok {
				selectors = append(selectors, read(vector, path))
			}
			return nil
		})
		out = append(out, selectors)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func read(vector *parser.VectorSelector, path []parser.Node) selector {
	found := selector{Metric: vector.Name, Matchers: []matcher{}, Labels: []string{}}
	for _, m := range vector.LabelMatchers {
		if m.Name != labels.MetricName {
			found.Matchers = append(found.Matchers, matcher{m.Name, m.Type.String(), m.Value})
		} else if found.Metric == "" {
			// A pattern of names, which no list of metrics contains.
			found.Metric = m.Type.String() + m.Value
		}
	}
	for _, node := range path {
		switch node := node.(type) {
		case *parser.AggregateExpr:
			found.Labels = append(found.Labels, node.Grouping...)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				found.Labels = append(found.Labels, node.VectorMatching.MatchingLabels...)
			}
		}
	}
	slices.Sort(found.Labels)
	found.Labels = slices.Compact(found.Labels)
	return found
}
